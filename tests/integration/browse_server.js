// A node-opcua server with an awkward address space, for `browse`. argv[2] is JSON: port, folder,
// limit (MaxNodesPerBrowse and MaxNodesPerRead), flat (variables in one folder).
// Prints READY when it listens.
const { OPCUAServer, OPCUACertificateManager, DataType, Variant, VariantArrayType } = require('node-opcua');
const path = require('path');
const O = JSON.parse(process.argv[2]);

(async () => {
  const store = (name) => new OPCUACertificateManager({ rootFolder: path.join(O.folder, name), automaticallyAcceptUnknownCertificate: true });
  const server = new OPCUAServer({
    port: O.port, hostname: '127.0.0.1', host: '127.0.0.1', serverInfo: { applicationUri: 'urn:test:browse' },
    serverCertificateManager: store('server'), userCertificateManager: store('user'),
    serverCapabilities: { maxBrowseContinuationPoints: 2, operationLimits: { maxNodesPerBrowse: O.limit || 0, maxNodesPerRead: O.limit || 0 } },
  });
  await server.initialize();
  const space = server.engine.addressSpace, ns = space.registerNamespace('urn:odd'), objects = space.rootFolder.objects;
  const folder = (parent, name, id) => ns.addFolder(parent, { browseName: name, nodeId: id });
  const double = (parent, name, nodeId) => ns.addVariable({ componentOf: parent, browseName: name, nodeId, dataType: 'Double', value: { dataType: DataType.Double, value: 1.5 } });
  // A cycle: Loop holds Inner, which holds Loop.
  const loop = folder(objects, 'Loop', 's=Loop'), inner = folder(loop, 'Inner', 's=Inner');
  inner.addReference({ referenceType: 'Organizes', nodeId: loop.nodeId });
  double(inner, 'x', 's=Loop.x');
  // Numeric ids, machines with the same names in two halls.
  const halls = folder(objects, 'Halls', 's=Halls');
  let id = 1000;
  for (const hall of ['A', 'B']) {
    const h = folder(halls, hall, `s=Hall${hall}`);
    for (const pump of ['Pump 1', 'Pump 2']) {
      const p = folder(h, pump, `i=${id++}`);
      for (const name of ['Flow', 'Druck (bar)']) double(p, name, `i=${id++}`);
    }
  }
  // A method, an array, a text, a variable without a value.
  const odd = folder(objects, 'Odd', 's=Odd');
  ns.addMethod(odd, { browseName: 'Reset', nodeId: 's=Reset', inputArguments: [], outputArguments: [] });
  ns.addVariable({ componentOf: odd, browseName: 'Spectrum', nodeId: 's=Spectrum', dataType: 'Float', valueRank: 1, value: { dataType: DataType.Float, arrayType: VariantArrayType.Array, value: new Float32Array(64) } });
  ns.addVariable({ componentOf: odd, browseName: 'Name', nodeId: 's=Name', dataType: 'String', value: { dataType: DataType.String, value: 'a\nb: "c"' } });
  // Many variables in one folder: more than one answer holds.
  const flat = folder(objects, 'Flat', 's=Flat');
  for (let n = 0; n < (O.flat || 0); n++) double(flat, `T${n}`, `s=T${n}`);
  await server.start();
  console.log('READY');
})();
