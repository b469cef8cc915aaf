// npm run hooks: from now on, git looks at what is committed: its format, and the lint of TypeScript. `npm run hooks -- off`
// takes that back.
import { run } from './lib/run.mjs';

if (process.argv[2] === 'off') {
  process.exit(run('git', ['config', '--unset', 'core.hooksPath']));
}
const code = run('git', ['config', 'core.hooksPath', 'tools/setup/hooks']);
if (code === 0) console.log('Commits are checked by tools/setup/hooks/pre-commit; npm run hooks -- off ends that.');
process.exit(code);
