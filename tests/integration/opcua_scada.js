// A node-opcua client as a SCADA's alarm list: `opcua_scada.js URL USER PASSWORD`. One command a line on stdin, an answer a line:
//   {"connect": true} | {"disconnect": true} | {"events": true}: all since the last question | {"read": NODE}
//   {"refresh": true} | {"acknowledge"|"confirm"|"comment": CONDITION, "event": HEX, "text": T} | {"shelve": CONDITION, "ms": N} | {"unshelve": CONDITION}
const { OPCUAClient, AttributeIds, TimestampsToReturn, constructEventFilter, resolveNodeId, DataType, Variant, StatusCodes,
  UserTokenType, MessageSecurityMode, SecurityPolicy, ObjectIds, MethodIds } = require('node-opcua');
const readline = require('readline');
const [URL_, USER, PASSWORD] = process.argv.slice(2);
const FIELDS = ['EventType', 'EventId', 'SourceName', 'ConditionName', 'Message', 'Severity', 'Retain', 'AckedState.Id', 'ActiveState.Id', 'ConfirmedState.Id', 'ShelvingState.CurrentState', 'Comment', 'ConditionId'];
let client, session, subscription, seen = [];

const plain = (v) => {
  if (v === null || v === undefined) return null;
  if (Buffer.isBuffer(v)) return v.toString('hex');
  if (v.text !== undefined) return v.text;
  if (v.namespace !== undefined && v.value !== undefined) return v.toString();
  return typeof v === 'object' ? v.toString() : v;
};
const actions = {
  async connect() {
    client = OPCUAClient.create({ endpointMustExist: false, connectionStrategy: { maxRetry: 2 }, requestedSessionTimeout: 60000,
      securityMode: MessageSecurityMode.None, securityPolicy: SecurityPolicy.None });
    await client.connect(URL_);
    session = await client.createSession(USER ? { type: UserTokenType.UserName, userName: USER, password: PASSWORD } : undefined);
    subscription = await session.createSubscription2({ requestedPublishingInterval: 50, requestedLifetimeCount: 1000, requestedMaxKeepAliveCount: 20,
      maxNotificationsPerPublish: 100, publishingEnabled: true, priority: 1 });
    const filter = constructEventFilter(FIELDS);
    const item = await subscription.monitor({ nodeId: resolveNodeId('Server'), attributeId: AttributeIds.EventNotifier },
      { queueSize: 20000, discardOldest: true, filter }, TimestampsToReturn.Both);
    item.on('changed', (values) => seen.push(Object.fromEntries(values.map((v, i) => [FIELDS[i], plain(v.value)]))));
    return { ok: true };
  },
  async disconnect() { await session.close(true); await client.disconnect(); return { ok: true }; },
  async events() { const found = seen; seen = []; return { events: found }; },
  async read(c) { const d = await session.read({ nodeId: c.read, attributeId: AttributeIds.Value }); return { value: plain(d.value.value), status: d.statusCode.name }; },
  async refresh() {
    const r = await session.call({ objectId: resolveNodeId('ConditionType'), methodId: resolveNodeId('ConditionType_ConditionRefresh'),
      inputArguments: [new Variant({ dataType: DataType.UInt32, value: subscription.subscriptionId })] });
    return { status: r.statusCode.name };
  },
  async acknowledge(c) { return { status: (await session.acknowledgeCondition(c.acknowledge, Buffer.from(c.event, 'hex'), c.text)).name }; },
  async confirm(c) { return { status: (await session.confirmCondition(c.confirm, Buffer.from(c.event, 'hex'), c.text)).name }; },
  async comment(c) { return { status: (await session.addCommentCondition(c.comment, Buffer.from(c.event, 'hex'), c.text)).name }; },
  async shelve(c) {
    const r = await session.call({ objectId: `${c.shelve}/ShelvingState`, methodId: resolveNodeId('ShelvedStateMachineType_TimedShelve'),
      inputArguments: [new Variant({ dataType: DataType.Double, value: c.ms })] });
    return { status: r.statusCode.name };
  },
  async unshelve(c) {
    const r = await session.call({ objectId: `${c.unshelve}/ShelvingState`, methodId: resolveNodeId('ShelvedStateMachineType_Unshelve'), inputArguments: [] });
    return { status: r.statusCode.name };
  },
};
let turn = Promise.resolve();
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const c = JSON.parse(line), name = Object.keys(actions).find((key) => key in c);
  turn = turn.then(() => actions[name](c)).catch((e) => ({ error: String(e.message || e) })).then((a) => console.log(JSON.stringify(a)));
}).on('close', () => process.exit(0));
console.log('"READY"');
