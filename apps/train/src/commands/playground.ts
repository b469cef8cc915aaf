import { createReadStream, existsSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { extname, join, normalize, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openInBrowser } from '../cli/open.ts';
import { UsageError } from '../errors.ts';

/** Options of the command, as commander gives them. */
export interface PlaygroundOptions {
  readonly port: number;
  readonly open?: boolean;
}

/** The built page: in the published package, and in the repository. */
const PLACES = ['../../playground/', '../../../playground/dist/'];

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

/** Serves the playground on this machine only, until it is interrupted. */
export async function playgroundCommand({ port, open = false }: PlaygroundOptions): Promise<void> {
  const server = await servePlayground(playgroundFolder(), port);
  const address = server.address();
  const url = `http://localhost:${typeof address === 'object' && address !== null ? address.port : port}/`;
  process.stdout.write(`The playground is at ${url} (Ctrl-C ends it)\n`);
  if (open) openInBrowser(url);
  await new Promise((resolve) => server.on('close', resolve));
}

/** @throws UsageError where the page is not built */
function playgroundFolder(): string {
  const found = PLACES.map((place) => fileURLToPath(new URL(place, import.meta.url))).find((folder) =>
    existsSync(join(folder, 'index.html')),
  );
  if (found !== undefined) return found;
  throw new UsageError('playground: the page is not built; in the repository run npm run playground, which builds it');
}

/** A server of the files in a folder. @throws UsageError for a port that is taken */
export async function servePlayground(folder: string, port: number): Promise<Server> {
  const server = createServer((request, response) => give(folder, request.url ?? '/', response));
  await new Promise<void>((resolve, reject) => {
    server.on('error', (cause) =>
      reject(new UsageError(`playground: cannot listen on port ${port}: ${cause.message}; choose another with --port`)),
    );
    server.listen(port, '127.0.0.1', resolve);
  });
  return server;
}

/** Sends a file of the folder, and nothing that lies outside. */
function give(folder: string, url: string, response: ServerResponse): void {
  let path: string;
  try {
    path = normalize(decodeURIComponent(new URL(url, 'http://localhost').pathname));
  } catch {
    response.writeHead(400).end();
    return;
  }
  const file = join(folder, path.endsWith(sep) ? `${path}index.html` : path);
  if (!file.startsWith(folder) || file.includes('\0')) {
    response.writeHead(404).end();
    return;
  }
  const stream = createReadStream(file);
  stream.on('error', () => response.writeHead(404).end());
  stream.on('open', () => {
    response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' });
    stream.pipe(response);
  });
}
