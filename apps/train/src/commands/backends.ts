import { probeBackends } from '@lazy-attention/core';
import { table } from '../output/format.ts';

/** `lazy-attention backends`: what is there, why not, and how to get it. */
export async function backendsCommand(options: { json?: boolean }): Promise<void> {
  const reports = await probeBackends();
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
