// npm run bench: options are passed on to tools/bench.
import { prepare } from './lib/prepare.mjs';
import { run } from './lib/run.mjs';

if (!prepare()) process.exit(1);
process.exit(run('npm', ['run', '--silent', 'bench', '-w', '@lazy-attention/bench', '--', ...process.argv.slice(2)]));
