// Serves the repository, so that the page's import map finds what `npm run build` has made.
import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = await realpath(fileURLToPath(new URL('../../', import.meta.url)));
const TYPES = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

const server = createServer(async (request, response) => {
  try {
    const { pathname } = new URL(request.url, 'http://localhost');
    const wanted = join(root, decodeURIComponent(pathname), pathname.endsWith('/') ? 'index.html' : '');
    const path = await realpath(wanted);
    if (!path.startsWith(root + sep) || !(await stat(path)).isFile()) throw new Error('not here');
    response.setHeader('content-type', TYPES[extname(path)] ?? 'application/octet-stream');
    createReadStream(path).pipe(response);
  } catch {
    response.writeHead(404).end('not found');
  }
});
// Of this machine alone.
server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`http://localhost:${server.address().port}/examples/browser/`);
});
