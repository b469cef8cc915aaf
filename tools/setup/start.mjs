// npm start: from a fresh clone to a trained model. Options are passed on to `lazy-attention train`.
import { join } from 'node:path';
import { prepare } from './lib/prepare.mjs';
import { run } from './lib/run.mjs';
import { root } from './lib/workspaces.mjs';

if (!prepare()) process.exit(1);
process.exit(run(process.execPath, [join(root, 'apps/train/dist/bin.js'), 'train', ...process.argv.slice(2)]));
