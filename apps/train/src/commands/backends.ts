import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type BackendReport, probeBackends } from '@lazy-attention/core';
import { table } from '../output/format.ts';

/** `lazy-attention backends`: what is there, why not, and how to get it. */
export async function backendsCommand(options: { json?: boolean; verbose?: boolean }): Promise<void> {
  const reports = options.verbose ? await probeBackends() : ((await askedQuietly()) ?? (await probeBackends()));
  if (options.json) {
    console.log(JSON.stringify(reports, null, 2));
    return;
  }
  for (const { name, available, device, reason, fix, software } of reports) {
    const kind = software === true && !device.includes('software') ? ' (software)' : '';
    const lines = [[`${available ? '+' : '-'} ${name}`.padEnd(12), available ? `${device}${kind}` : 'not available']];
    if (reason !== '') lines.push(['', reason]);
    if (!available && fix !== undefined) lines.push(['', `fix: ${fix}`]);
    console.log(table(lines.map(([left, right]) => [left.padEnd(12), right.replaceAll('\n', `\n${' '.repeat(14)}`)])));
  }
  console.log(
    "\n'auto' takes the best that works: cuda, webgpu on hardware, cpu, tfjs, webgpu in software, reference.",
  );
  console.log('Choose one with --backend NAME or the environment variable LAZY_ATTENTION_BACKEND.');
}

/** Drivers print warnings from native code, which only a process of their own keeps apart. null where that gave no answer. */
async function askedQuietly(): Promise<BackendReport[] | null> {
  try {
    const args = [...process.execArgv, process.argv[1], 'backends', '--json', '--verbose'];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 120_000 });
    return JSON.parse(stdout);
  } catch {
    return null;
  }
}
