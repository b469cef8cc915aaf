// npm run playground: builds the page and serves it on this machine. `-- --open` shows it in the browser, `-- --port N` chooses the port.
import { join } from 'node:path';
import { prepare } from './lib/prepare.mjs';
import { run } from './lib/run.mjs';
import { root } from './lib/workspaces.mjs';

if (!prepare()) process.exit(1);
process.exit(run(process.execPath, [join(root, 'apps/train/dist/bin.js'), 'playground', ...process.argv.slice(2)]));
