// An edge node of the Eclipse Tahu client: births, data five times a second, deaths on request.
// node sparkplug_node.js URL; commands on stdin: device-death, stop. Prints each birth.
const sparkplug = require("sparkplug-client");

const client = sparkplug.newClient({
  serverUrl: process.argv[2],
  username: "",
  password: "",
  groupId: "G",
  edgeNode: "N",
  clientId: "sparkplug-node",
  version: "spBv1.0",
  keepalive: 5,
  publishDeath: true,
});
let flow = 0;

function tellBirths() {
  const timestamp = Date.now();
  const control = { name: "Node Control/Rebirth", type: "Boolean", value: false };
  client.publishNodeBirth({ timestamp, metrics: [control] });
  const metrics = [
    { name: "flow", type: "Float", value: flow },
    { name: "level", type: "Int32", value: -7 },
  ];
  client.publishDeviceBirth("P1", { timestamp, metrics });
  console.log("birth");
}

client.on("birth", tellBirths);
client.on("ncmd", (payload) => {
  if (payload.metrics.some((one) => one.name === "Node Control/Rebirth" && one.value)) tellBirths();
});
setInterval(() => {
  flow += 1;
  const metrics = [{ name: "flow", type: "Float", value: flow }];
  client.publishDeviceData("P1", { timestamp: Date.now(), metrics });
}, 200);
process.stdin.on("data", (line) => {
  const command = String(line).trim();
  if (command === "device-death") client.publishDeviceDeath("P1", { timestamp: Date.now() });
  if (command === "stop") client.stop();
});
