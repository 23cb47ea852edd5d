// Prints, as JSON, the fields of a response that helmet has dressed with its defaults, in order.
import { once } from "node:events";
import { createServer, get } from "node:http";
import helmet from "helmet";

const dress = helmet();
const server = createServer((request, response) => {
  response.setHeader("X-Powered-By", "Express");
  response.sendDate = false;
  dress(request, response, () => response.end());
});
await once(server.listen(0, "127.0.0.1"), "listening");
const request = get({ port: server.address().port, host: "127.0.0.1", agent: false });
const [response] = await once(request, "response");
response.resume();
server.close();

// What Node.js adds for the connection itself.
const ofTheConnection = ["connection", "content-length", "keep-alive"];
const fields = [];
for (let at = 0; at < response.rawHeaders.length; at += 2) {
  const [name, value] = response.rawHeaders.slice(at, at + 2);
  if (!ofTheConnection.includes(name.toLowerCase())) fields.push([name.toLowerCase(), value]);
}
console.log(JSON.stringify(fields));
