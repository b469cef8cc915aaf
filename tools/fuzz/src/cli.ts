/**
 * npm run fuzz -- [MINUTES] [--target NAME] [--seed N] [--from N] [--cases N] [--jobs N]
 *
 * Tries mutated files and random op calls in child processes and prints each finding with the seed and index that repeat it:
 * `npm run fuzz -- --target NAME --seed S --from INDEX --cases 1`. Exits with 1 when there was any.
 */
import { parseArgs } from 'node:util';
import { number } from './arguments.ts';
import { type Finding, keyOf, type Limits, runStretch } from './supervise.ts';
import { TARGETS } from './targets/index.ts';

const LIMITS: Limits = { caseMilliseconds: 10_000, residentBytes: 2 * 2 ** 30 };

interface Tally {
  tried: number;
  accepted: number;
  next: number;
  /** What was left of stretches that ended with a finding. */
  left: { readonly from: number; readonly count: number }[];
  /** By fault, the first case that showed it. */
  findings: Map<string, Finding>;
}

const MOST_FAULTS = 20;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    target: { type: 'string', multiple: true },
    seed: { type: 'string', default: '1' },
    from: { type: 'string', default: '0' },
    cases: { type: 'string' },
    jobs: { type: 'string', default: '2' },
  },
});
const minutes = number('fuzz', 'MINUTES', positionals[0] ?? '1');
const seed = number('fuzz', '--seed', values.seed);
const only = values.cases === undefined ? null : number('fuzz', '--cases', values.cases);
const names = values.target ?? TARGETS.map(({ name }) => name);
for (const name of names) {
  if (!TARGETS.some((target) => target.name === name)) {
    console.error(`fuzz: no target '${name}'; there are ${TARGETS.map((target) => target.name).join(', ')}`);
    process.exit(2);
  }
}

// Starting a child takes as long as hundreds of cases; where the time counts, all targets must get their turn.
const stretch = only === null ? 2000 : 20_000;

const first = number('fuzz', '--from', values.from);
const tallies = new Map<string, Tally>(
  names.map((name) => [name, { tried: 0, accepted: 0, next: first, left: [], findings: new Map() }]),
);
const end = Date.now() + minutes * 60_000;
await Promise.all(Array.from({ length: number('fuzz', '--jobs', values.jobs, 1) }, (_, job) => work(job)));
report();

/** Takes the targets in turn, a stretch of cases each, until the time is over or the cases are done. */
async function work(job: number): Promise<void> {
  for (let turn = job; ; turn++) {
    const waiting = names.filter((name) => {
      const { next, left } = tallies.get(name) as Tally;
      return only === null || next < first + only || left.length > 0;
    });
    if (waiting.length === 0 || (only === null && Date.now() >= end)) return;
    const name = waiting[turn % waiting.length] as string;
    const tally = tallies.get(name) as Tally;
    const { from, count } = tally.left.pop() ?? nextStretch(tally);
    const { tried, accepted, finding } = await runStretch(name, seed, from, count, LIMITS);
    tally.tried += tried;
    tally.accepted += accepted;
    if (finding === null) continue;
    if (!tally.findings.has(keyOf(finding))) {
      tally.findings.set(keyOf(finding), finding);
      console.log(`\n${finding.kind} in ${name}, case ${finding.index} of seed ${seed}:\n${finding.message}\n`);
    }
    const rest = { from: finding.index + 1, count: from + count - finding.index - 1 };
    if (tally.findings.size < MOST_FAULTS && rest.count > 0) tally.left.push(rest);
  }
}

function nextStretch(tally: Tally): { from: number; count: number } {
  const from = tally.next;
  const count = only === null ? stretch : Math.min(stretch, first + only - from);
  tally.next += count;
  return { from, count };
}

function report(): void {
  let findings = 0;
  for (const [name, tally] of tallies) {
    findings += tally.findings.size;
    console.log(
      `${name.padEnd(14)} ${tally.tried.toLocaleString('en').padStart(12)} tried, ${tally.accepted.toLocaleString('en').padStart(12)} taken, ${tally.findings.size} findings`,
    );
  }
  console.log(`fuzz: seed ${seed}, ${findings} findings`);
  process.exitCode = findings > 0 ? 1 : 0;
}
