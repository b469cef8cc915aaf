// npm run docs: the API reference of every published package, in dist-docs.
import { join } from 'node:path';
import { prepare } from './lib/prepare.mjs';
import { run } from './lib/run.mjs';
import { root } from './lib/workspaces.mjs';

if (!prepare()) process.exit(1);
process.exit(run(process.execPath, [join(root, 'tools/api-docs/build.mjs')]));
