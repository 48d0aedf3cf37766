// The page of /openapi.json: each route with what it takes and answers.

const make = (tag, text, kind) => {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  if (kind) node.className = kind;
  return node;
};

const shown = (title, value) => {
  const box = make("div");
  box.append(make("p", title, "muted"), make("pre", JSON.stringify(value, null, 1)));
  return box;
};

const schemaOf = (content) => Object.values(content ?? {})[0]?.schema;

const routeOf = (method, path, operation) => {
  const box = make("details");
  const head = make("summary");
  head.append(make("code", `${method.toUpperCase()} ${path}`), ` ${operation.summary} `);
  head.append(make("span", `scope: ${operation["x-scope"]}`, "muted"));
  box.append(head);
  for (const one of operation.parameters ?? []) {
    box.append(make("p", `${one.name} (${one.in}): ${JSON.stringify(one.schema)}`));
  }
  const body = schemaOf(operation.requestBody?.content);
  if (body && Object.keys(body).length) box.append(shown("body", body));
  const answer = schemaOf(operation.responses["200"].content);
  if (answer) box.append(shown("answer", answer));
  return box;
};

const show = async () => {
  const answer = await fetch("/openapi.json", { credentials: "omit" });
  if (!answer.ok) throw new Error(`/openapi.json: ${answer.status}`);
  const found = await answer.json();
  document.getElementById("version").textContent = found.info.version;
  const list = document.getElementById("routes");
  for (const [path, methods] of Object.entries(found.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      list.append(routeOf(method, path, operation));
    }
  }
};

show().catch((error) => {
  const banner = document.getElementById("banner");
  banner.textContent = error.message;
  banner.hidden = false;
});
