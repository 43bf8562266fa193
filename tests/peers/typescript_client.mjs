// The TypeScript clients, version 1 and 2, in one conversation with the server.
//
// node typescript_client.mjs REQUEST.json: see conversation.py for what is in the request and in
// the one line of JSON that is printed.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const request = JSON.parse(readFileSync(process.argv[2], "utf8"));
// The packages lie in a folder of their own, not beside this file.
const load = createRequire(`${process.env.PEERS_NODE_MODULES}/`);

function clientAndTransport() {
  const info = { name: "peers", version: "0" };
  if (request.client === "v1") {
    const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
    const { StdioClientTransport } = load("@modelcontextprotocol/sdk/client/stdio.js");
    const { StreamableHTTPClientTransport } = load(
      "@modelcontextprotocol/sdk/client/streamableHttp.js",
    );
    const transport = request.url
      ? new StreamableHTTPClientTransport(new URL(request.url))
      : new StdioClientTransport({ ...request.stdio, stderr: "ignore" });
    return [new Client(info), transport];
  }
  const { Client, StreamableHTTPClientTransport } = load("@modelcontextprotocol/client");
  const { StdioClientTransport } = load("@modelcontextprotocol/client/stdio");
  const transport = request.url
    ? new StreamableHTTPClientTransport(new URL(request.url))
    : new StdioClientTransport({ ...request.stdio, stderr: "ignore" });
  return [new Client(info, { versionNegotiation: { mode: request.mode } }), transport];
}

const textOf = (result) => result.content.map((block) => block.text ?? "").join("\n");

const [client, transport] = clientAndTransport();
// A busy machine takes longer than the clients' minute to load the model.
const patient = { timeout: 240_000 };
await client.connect(transport, patient);
const { tools } = await client.listTools(undefined, patient);
const call = (name, args) =>
  request.client === "v1"
    ? client.callTool({ name, arguments: args }, undefined, patient)
    : client.callTool({ name, arguments: args }, patient);
const embedded = await call("embed_sample", request.embed);
const handle = embedded.structuredContent?.samples?.[0]?.sample;
const cohorts = await call("nearest_cohorts", { sample: handle });
const bad = await call("embed_sample", request.bad);

const { resources } = await client.listResources(undefined, patient);
const read = resources.length ? await client.readResource({ uri: resources[0].uri }, patient) : null;
const { prompts } = await client.listPrompts(undefined, patient);
let prompt = null;
if (prompts.length) {
  const required = (prompts[0].arguments ?? []).filter((one) => one.required);
  const args = Object.fromEntries(required.map((one) => [one.name, handle]));
  prompt = await client.getPrompt({ name: prompts[0].name, arguments: args }, patient);
}
const version = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion ?? null;
await client.close();

console.log(
  JSON.stringify({
    version,
    tools: tools.map((tool) => tool.name),
    embedded: textOf(embedded),
    handle,
    cohorts: textOf(cohorts),
    bad: textOf(bad),
    bad_is_error: bad.isError === true,
    resources: resources.map((one) => one.uri),
    read: read && JSON.stringify(read.contents).length,
    prompts: prompts.map((one) => one.name),
    messages: prompt && prompt.messages.length,
  }),
);
