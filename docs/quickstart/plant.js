// A small plant to try edge-agent on: an OPC UA server with four pumps in two lines.
//   npm install node-opcua; node plant.js [PORT]          (default: 4840)
// A file `fault` beside it, holding the name of a pump (P-102), makes that pump's bearing wear; an
// empty or missing file heals all. Nothing but loopback is listened on.
const { OPCUAServer, DataType, Variant, AccessLevelFlag, coerceLocalizedText, StatusCodes } = require('node-opcua');
const fs = require('fs'), os = require('os'), path = require('path');

const PORT = Number(process.argv[2] || 4840);
const FAULT = path.join(process.cwd(), 'fault');
const LINES = { Line1: ['P-101', 'P-102'], Line2: ['P-201', 'P-202'] };
const UNIT = (text) => ({ namespaceUri: 'http://www.opcfoundation.org/UA/units/un/cefact', unitId: -1, displayName: text, description: text });
// name: [healthy value, its noise, unit, range, what a worn bearing adds]
const SIGNALS = {
  Flow: [62, 0.4, 'm3/h', [0, 100], -6],
  Pressure: [4.2, 0.03, 'bar', [0, 16], -0.3],
  Temperature: [55, 0.2, '°C', [0, 120], 9],
  Vibration: [2.1, 0.05, 'mm/s', [0, 25], 4],
};
const gauss = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());

(async () => {
  const server = new OPCUAServer({
    port: PORT, hostname: '127.0.0.1', host: '127.0.0.1', allowAnonymous: true,
    serverInfo: { applicationUri: 'urn:edge-agent:quickstart' },
    buildInfo: { productName: 'quickstart plant' },
  });
  await server.initialize();
  const space = server.engine.addressSpace, ns = space.registerNamespace('urn:quickstart:plant');
  const plant = ns.addFolder(space.rootFolder.objects, { browseName: 'Plant', nodeId: 's=Plant' });
  const pumpType = ns.addObjectType({ browseName: 'PumpType' });
  const analog = [];
  for (const [line, pumps] of Object.entries(LINES)) {
    const folder = ns.addFolder(plant, { browseName: line, nodeId: `s=${line}` });
    for (const pump of pumps) {
      const object = ns.addObject({ organizedBy: folder, browseName: pump, nodeId: `s=${pump}`, typeDefinition: pumpType });
      for (const [name, [value, noise, unit, [low, high], worn]] of Object.entries(SIGNALS)) {
        const node = ns.addAnalogDataItem({
          componentOf: object, browseName: name, nodeId: `s=${pump}.${name}`, dataType: 'Double', minimumSamplingInterval: 50,
          engineeringUnitsRange: { low, high }, engineeringUnits: UNIT(unit), value: { dataType: DataType.Double, value },
          accessLevel: 'CurrentRead', userAccessLevel: 'CurrentRead',
        });
        analog.push({ pump, node, value, noise, worn });
      }
      ns.addVariable({ componentOf: object, browseName: 'State', nodeId: `s=${pump}.State`, dataType: 'String', value: { dataType: DataType.String, value: 'RUNNING' }, accessLevel: 'CurrentRead', userAccessLevel: 'CurrentRead' });
    }
  }
  await server.start();
  console.log('READY');
  let wear = {}; // of each pump, 0 to 1
  setInterval(() => {
    let worn = '';
    try { worn = fs.readFileSync(FAULT, 'utf8').trim(); } catch { /* no fault */ }
    for (const { pump } of analog) wear[pump] = worn === pump ? Math.min(1, (wear[pump] || 0) + 0.02) : 0;
    for (const { pump, node, value, noise, worn: extra } of analog) {
      node.setValueFromSource({ dataType: DataType.Double, value: value + noise * gauss() + extra * wear[pump] });
    }
  }, 100);
})();
