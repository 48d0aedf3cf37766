// A node-opcua server for scripts/skab-live: Double variables nsu=urn:skab;s=ASSET.CHANNEL.
// argv[2] names a JSON file: port, folder (PKI), first {NAME: [value, EPOCH_MS]}: what each holds at first.
// Prints READY when it listens. Then one JSON a line on stdin: [NAME, value, EPOCH_MS], in order;
// at the end of stdin it prints {"written", "changed"}: values given, and those unlike the one before.
const { OPCUAServer, OPCUACertificateManager, DataType, StatusCodes } = require('node-opcua');
const fs = require('fs'), path = require('path'), readline = require('readline');
const options = JSON.parse(fs.readFileSync(process.argv[2]));

const store = (name) => new OPCUACertificateManager({ rootFolder: path.join(options.folder, name) });

(async () => {
  const server = new OPCUAServer({
    port: options.port, hostname: '127.0.0.1', host: '127.0.0.1',
    serverCertificateManager: store('server'), userCertificateManager: store('user'),
    // Else it would fold the changes of 50 ms into one, which are a whole row at 20 times their pace.
    serverCapabilities: { minSupportedSampleRate: 0 },
  });
  await server.initialize();
  const space = server.engine.addressSpace, objects = space.rootFolder.objects;
  const namespace = space.registerNamespace('urn:skab');
  const variables = new Map(), held = new Map();
  let written = 0, changed = 0;
  const set = (name, value, at) => {
    const variant = { dataType: DataType.Double, value };
    variables.get(name).setValueFromSource(variant, StatusCodes.Good, new Date(at));
    written += 1;
    changed += held.get(name) !== value;
    held.set(name, value);
  };
  for (const [name, [value, at]] of Object.entries(options.first)) {
    // A minimum sampling interval of 0: every write is reported, none is sampled past (Part 3, 5.6.2).
    variables.set(name, namespace.addVariable({
      organizedBy: objects, browseName: name, nodeId: `s=${name}`, dataType: 'Double', minimumSamplingInterval: 0,
    }));
    set(name, value, at);
  }
  await server.start();
  console.log('READY');
  readline.createInterface({ input: process.stdin })
    .on('line', (line) => set(...JSON.parse(line)))
    .on('close', () => console.log(JSON.stringify({ written, changed })));
})();
