// An editor without a screen: opens files in the YAML language server over stdio and prints what it says of them.
//
// usage: node editor.mjs FOLDER < REQUESTS, one JSON object a line: { path, text?, line?, column? }, both from 0. Each is
// answered by { diagnostics, completions?, hover? } in one line. A path is opened once: what the server says of a file that
// was closed could not be told from what it says of the next. The schema is the one that the file's first line names.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { resolve, dirname } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const folder = resolve(process.argv[2]);
const server = spawn(process.execPath, [
  resolve(here, "node_modules/yaml-language-server/bin/yaml-language-server"),
  "--stdio",
]);
server.stderr.pipe(process.stderr);

setTimeout(() => {
  console.error("the language server does not answer");
  process.exit(1);
}, 120_000).unref();

let received = Buffer.alloc(0);
let next = 0;
const answers = new Map();
const opened = new Map();

function send(message) {
  const body = JSON.stringify({ jsonrpc: "2.0", ...message });
  server.stdin.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}
const ask = (method, params) =>
  new Promise((answer) => {
    next += 1;
    answers.set(next, answer);
    send({ id: next, method, params });
  });

const settings = {
  yaml: { validate: true, hover: true, completion: true, schemaStore: { enable: false }, format: { enable: false } },
};

function take(message) {
  if (message.method === "textDocument/publishDiagnostics") {
    opened.get(message.params.uri)?.(message.params.diagnostics);
  } else if (message.method === "workspace/configuration") {
    const result = message.params.items.map(({ section }) => settings[section] ?? null);
    send({ id: message.id, result });
  } else if (message.method && message.id !== undefined) {
    send({ id: message.id, result: null });
  } else if (message.id !== undefined) {
    answers.get(message.id)?.(message.result ?? message.error);
    answers.delete(message.id);
  }
}

server.stdout.on("data", (bytes) => {
  received = Buffer.concat([received, bytes]);
  for (;;) {
    const end = received.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = Number(/Content-Length: (\d+)/i.exec(received.toString("latin1", 0, end))[1]);
    if (received.length < end + 4 + length) return;
    const body = received.toString("utf8", end + 4, end + 4 + length);
    received = received.subarray(end + 4 + length);
    take(JSON.parse(body));
  }
});

await ask("initialize", {
  processId: process.pid,
  rootUri: pathToFileURL(folder).href,
  workspaceFolders: [{ uri: pathToFileURL(folder).href, name: "crossgate" }],
  capabilities: {
    textDocument: {
      completion: { completionItem: { snippetSupport: true, documentationFormat: ["markdown"] } },
      hover: { contentFormat: ["markdown"] },
    },
    workspace: { configuration: true, workspaceFolders: true },
  },
});
send({ method: "initialized", params: {} });
send({ method: "workspace/didChangeConfiguration", params: { settings } });

let version = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const path = resolve(folder, request.path);
  const uri = pathToFileURL(path).href;
  const text = request.text ?? readFileSync(path, "utf8");
  const diagnostics = new Promise((said) => opened.set(uri, said));
  version += 1;
  send({ method: "textDocument/didOpen", params: { textDocument: { uri, languageId: "yaml", version, text } } });
  const answer = { path: request.path, diagnostics: await diagnostics };
  opened.delete(uri);
  if (request.line !== undefined) {
    const at = { textDocument: { uri }, position: { line: request.line, character: request.column } };
    answer.completions = (await ask("textDocument/completion", at))?.items ?? [];
    answer.hover = (await ask("textDocument/hover", at))?.contents?.value ?? null;
  }
  send({ method: "textDocument/didClose", params: { textDocument: { uri } } });
  console.log(JSON.stringify(answer));
}
await ask("shutdown", null);
send({ method: "exit" });
server.stdin.end();
