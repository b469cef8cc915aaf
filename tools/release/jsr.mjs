// node tools/release/jsr.mjs           lays the packages of TypeScript out as JSR takes them, in tools/release/build/jsr, and has Deno look
//                                     them over: every export, the types that it wants written out, every import. Nothing is published.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root, workspaces } from '../setup/lib/workspaces.mjs';
import { jsrPackages, stageForJsr } from './lib/jsr.mjs';
import { RUNTIMES, runtimeProgram } from './lib/runtimes.mjs';

const out = join(import.meta.dirname, 'build/jsr');
const packages = jsrPackages(workspaces());
stageForJsr({ root, packages, out });
console.log(`${packages.length} packages in ${out}`);
const deno = runtimeProgram('Deno');
if (deno === null) {
  console.error(`npm install ${RUNTIMES.Deno.install} gives no program for this platform`);
  process.exitCode = 1;
} else {
  const { env } = RUNTIMES.Deno;
  const { status } = spawnSync(deno, ['publish', '--dry-run', '--allow-dirty', '--no-check'], {
    cwd: out,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  process.exitCode = status ?? 1;
}
