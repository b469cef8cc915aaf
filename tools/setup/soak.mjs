// npm run soak: set-up, build, then the soak with what was given.
import { join } from 'node:path';
import { prepare } from './lib/prepare.mjs';
import { run } from './lib/run.mjs';
import { root } from './lib/workspaces.mjs';

if (!prepare()) process.exit(1);
process.exit(run(process.execPath, [join(root, 'tools', 'fuzz', 'dist', 'soak', 'cli.js'), ...process.argv.slice(2)]));
