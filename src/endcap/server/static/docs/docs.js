// Draws the documentation of this server from its own OpenAPI document. Text goes in as text nodes only.

/** @param {string} tag @param {Record<string, string>} attributes @param {(Node|string)[]} children */
function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** The schema behind a reference, with the name it was referred to by. */
function resolve(api, schema) {
  if (!schema || !schema.$ref) return { name: "", schema: schema || {} };
  const name = schema.$ref.split("/").pop();
  return { name, schema: api.components.schemas[name] };
}

/** A type in a few words: "integer, 1 to 200", "array of Item". */
function words(api, given) {
  const { name, schema } = resolve(api, given);
  if (name && schema.enum) return schema.enum.map(String).join(" | ");
  if (name) return name;
  if (schema.anyOf) return schema.anyOf.map((part) => words(api, part)).join(" or ");
  if (schema.enum) return schema.enum.map(String).join(" | ");
  if (schema.const !== undefined) return String(schema.const);
  if (schema.type === "array") {
    const inner = schema.items ? words(api, schema.items) : (schema.prefixItems || []).map((p) => words(api, p)).join(", ");
    return `array of ${inner || "anything"}`;
  }
  if (schema.type === "object") {
    const values = schema.additionalProperties;
    return values && typeof values === "object" ? `object of ${words(api, values)}` : "object";
  }
  const low = schema.minimum, high = schema.maximum;
  const range = low !== undefined && high !== undefined ? `, ${low} to ${high}` : "";
  return (schema.type || "anything") + range;
}

function table(head, rows) {
  const top = element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))));
  return element("table", {}, element("thead", {}, top), element("tbody", {}, ...body));
}

/** The fields of an object schema. */
function fields(api, given) {
  const { schema } = resolve(api, given);
  const parts = schema.anyOf || (schema.type === "array" ? [schema.items || {}] : [schema]);
  const tables = [];
  for (const part of parts) {
    const inner = resolve(api, part.type === "array" ? part.items : part);
    const properties = Object.entries(inner.schema.properties || {});
    if (!properties.length || tables.some((seen) => seen.dataset.of === inner.name)) continue;
    const required = new Set(inner.schema.required || []);
    const rows = properties.map(([name, property]) => [
      element("code", {}, name),
      words(api, property),
      required.has(name) ? "required" : property.default === undefined || property.default === null ? "" : `default ${JSON.stringify(property.default)}`,
    ]);
    const drawn = element("details", { "data-of": inner.name }, element("summary", {}, inner.name || "fields"), table(["Field", "Type", ""], rows));
    tables.push(drawn);
  }
  return tables;
}

function example(path, method, operation) {
  const address = location.origin + path.replace("{id}", "ID");
  const lines = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}'${address}'`];
  if (operation.security.length) lines.push(`  -H 'Authorization: Bearer KEY'`);
  if (operation.requestBody) lines.push(`  -H 'Content-Type: application/json' -d @body.json`);
  return lines.join(" \\\n");
}

function article(api, path, method, operation) {
  const heading = element("h3", {}, element("span", { class: `method ${method}` }, method.toUpperCase()), " ", element("code", {}, path));
  const node = element("article", { id: operation.operationId }, heading, element("p", {}, operation.summary));
  node.append(element("p", { class: "keys" }, operation.description));
  node.append(element("pre", { tabindex: "0" }, element("code", {}, example(path, method, operation))));
  if (operation.parameters.length) {
    const rows = operation.parameters.map((p) => [element("code", {}, p.name), p.in, words(api, p.schema), p.description || ""]);
    node.append(element("h4", {}, "Parameters"), table(["Name", "In", "Type", "Meaning"], rows));
  }
  if (operation.requestBody) {
    const schema = operation.requestBody.content["application/json"].schema;
    node.append(element("h4", {}, "Body"), element("p", {}, operation.requestBody.description || words(api, schema)));
    node.append(...fields(api, schema));
  }
  const answers = Object.entries(operation.responses).map(([status, response]) => {
    const content = Object.values(response.content || {})[0];
    return [element("code", {}, status), response.description, content ? words(api, content.schema) : ""];
  });
  node.append(element("h4", {}, "Answers"), table(["Status", "Meaning", "Type"], answers));
  const done = operation.responses["200"].content["application/json"];
  if (done) node.append(...fields(api, done.schema));
  return node;
}

function draw(api) {
  const contents = document.getElementById("contents");
  const main = document.getElementById("content");
  document.getElementById("about").textContent = `${api.info.summary} Version ${api.info.version}. ${api.info.description}`;
  for (const { name } of api.tags) {
    const list = element("ul");
    const section = element("section", { "aria-labelledby": `tag-${name}` }, element("h2", { id: `tag-${name}` }, name));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (!operation.tags.includes(name)) continue;
        const label = element("span", { class: `method ${method}` }, method.toUpperCase());
        list.append(element("li", {}, element("a", { href: `#${operation.operationId}` }, label, " ", path)));
        section.append(article(api, path, method, operation));
      }
    }
    contents.append(element("h2", {}, name), list);
    main.append(section);
  }
  main.setAttribute("aria-busy", "false");
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

function find(event) {
  const wanted = event.target.value.trim().toLowerCase();
  for (const node of document.querySelectorAll("article, nav li")) {
    node.hidden = wanted !== "" && !node.textContent.toLowerCase().includes(wanted);
  }
}

document.getElementById("find").addEventListener("input", find);
try {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  draw(await answer.json());
} catch (failure) {
  document.getElementById("about").textContent = `The description could not be read: ${failure.message}.`;
  document.getElementById("content").setAttribute("aria-busy", "false");
}
