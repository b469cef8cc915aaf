import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { ceilings } from '@lazy-attention/backend-cpu';
import { allCases, KINDS, type Kind, titleOf } from './cases.ts';
import { measure, PAUSE_MS } from './measure.ts';
import type { Peer } from './peer.ts';
import { allPeers } from './peers/index.ts';
import { type CaseResult, type Report, table } from './report.ts';

const USAGE = `npm run bench -- [options]
  --backend NAME    what is measured (default cpu)
  --cases A,B       of: ${KINDS.join(', ')} (default all)
  --match TEXT      only cases whose title holds the text
  --peers A,B       only peers whose name holds one of these texts, beside the backend itself; 'none' for no peer
  --warmups N       rounds before those that count (default 2)
  --repeats N       rounds that count (default 9); a case ends early, after at least three, at --seconds (default 20)
  --pause MS        before every run (default ${PAUSE_MS}: threads of OpenMP spin on; 0 where all programs are this project's)
  --output FILE     JSON with every single time
  PyTorch is taken from the Python that LAZY_ATTENTION_PYTHON names, else python3.`;

const { values } = parseArgs({
  options: {
    backend: { type: 'string', default: 'cpu' },
    cases: { type: 'string', default: KINDS.join(',') },
    match: { type: 'string', default: '' },
    peers: { type: 'string', default: '' },
    warmups: { type: 'string', default: '2' },
    repeats: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '20' },
    pause: { type: 'string', default: String(PAUSE_MS) },
    output: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  console.log(USAGE);
} else {
  await main();
}

async function main(): Promise<void> {
  const kinds = values.cases.split(',');
  const unknown = kinds.find((kind) => !KINDS.includes(kind as Kind));
  if (unknown !== undefined) throw new Error(`--cases: unknown kind '${unknown}'; expected ${KINDS.join(', ')}`);
  const cases = allCases(values.backend).filter(
    (task) => kinds.includes(task.kind) && titleOf(task).includes(values.match),
  );
  const first = await measureCeilings();
  printCeilings(first);
  const { open, report: peers } = await openPeers(chosenPeers());
  const results: CaseResult[] = [];
  for (const task of cases) {
    const result = await measure(task, open, {
      warmups: Number(values.warmups),
      repeats: Number(values.repeats),
      seconds: Number(values.seconds),
      pauseMs: Number(values.pause),
    });
    results.push({ case: task, ...result });
    for (const line of table({ results: results.slice(-1), ceilings: [first] }).slice(results.length === 1 ? 0 : 2)) {
      console.log(line);
    }
  }
  for (const peer of open) await peer.close();
  const last = await measureCeilings();
  printCeilings(last);
  if (values.output === undefined) return;
  const report: Report = {
    date: new Date().toISOString(),
    machine: {
      processor: cpus()[0].model,
      cores: availableParallelism(),
      platform: `${process.platform} ${process.arch}`,
      node: process.version,
    },
    ceilings: [first, last],
    peers,
    results,
  };
  mkdirSync(dirname(values.output), { recursive: true });
  writeFileSync(values.output, `${JSON.stringify(report, null, 1)}\n`);
  console.log(`written to ${values.output}`);
}

function measureCeilings() {
  return ceilings({ bytes: 1 << 28 });
}

function printCeilings(ceiling: Awaited<ReturnType<typeof measureCeilings>>): void {
  const giga = (value: number) => (value / 1e9).toFixed(1);
  console.log(
    `machine: ${giga(ceiling.flopsPerSecond)} GFLOP/s FMA peak, ${giga(ceiling.copyBytesPerSecond)} GB/s copied, ` +
      `${giga(ceiling.readBytesPerSecond)} GB/s read`,
  );
}

function chosenPeers(): Peer[] {
  const [own, ...others] = allPeers(values.backend);
  const wanted = values.peers.split(',').filter((text) => text !== '');
  if (wanted.length === 0) return [own, ...others];
  return [own, ...others.filter((peer) => wanted.some((text) => peer.name.includes(text)))];
}

async function openPeers(peers: readonly Peer[]): Promise<{ open: Peer[]; report: Report['peers'] }> {
  const open: Peer[] = [];
  const report: { name: string; about?: string; absent?: string }[] = [];
  for (const peer of peers) {
    const answer = await peer.open();
    report.push({ name: peer.name, ...answer });
    if ('absent' in answer) {
      console.log(`absent: ${peer.name}: ${answer.absent}`);
    } else {
      console.log(`present: ${peer.name}: ${answer.about}`);
      open.push(peer);
    }
  }
  return { open, report };
}
