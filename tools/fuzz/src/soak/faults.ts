import { existsSync, readdirSync, readFileSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { oneOf, type Random, upTo } from '../random.ts';
import { checkpointName, checkpointsOf } from './check.ts';
import { type Ended, isAlive, randomMoment, STEPS, start, trainArguments } from './run.ts';

/** What a fault left behind: how the disturbed process ended, and what should not have been. */
export interface Outcome {
  readonly ended: Ended;
  readonly wrong: string | null;
  /** Whether the fault happened at all: a run that was over before it counts for nothing. */
  readonly struck: boolean;
}

/** Something that happens to a run. */
export interface Fault {
  readonly name: string;
  /** Disturbs the run in `folder`, which may be there already, and waits for the end. */
  disturb(folder: string, resumed: boolean, random: Random): Promise<Outcome>;
}

/** Of the steps, those that are left. */
function left(folder: string): number {
  return 1 - (checkpointsOf(folder).at(-1) ?? 0) / STEPS;
}

function signalled(signal: NodeJS.Signals): Fault {
  return {
    name: signal,
    async disturb(folder, resumed, random) {
      const running = start(trainArguments(folder, resumed));
      await randomMoment(running, folder, left(folder), random);
      const struck = isAlive(running) && running.child.kill(signal);
      return { ended: await running.ended, wrong: null, struck };
    },
  };
}

function limited(name: string, limits: (random: Random) => string): Fault {
  return {
    name,
    async disturb(folder, resumed, random) {
      const ended = await start(trainArguments(folder, resumed), limits(random)).ended;
      return { ended, wrong: null, struck: ended.code !== 0 };
    },
  };
}

/** A reader of standard output, or of standard error, that goes away. */
const lostPipe: Fault = {
  name: 'lost pipe',
  async disturb(folder, resumed, random) {
    const json = random() < 0.5 ? ['--json'] : [];
    const running = start([...trainArguments(folder, resumed), ...json]);
    const stream = random() < 0.7 ? running.child.stdout : running.child.stderr;
    await randomMoment(running, folder, left(folder), random);
    const struck = isAlive(running);
    stream?.destroy();
    return { ended: await running.ended, wrong: null, struck };
  },
};

/** Whether the lock of the run in `folder` is that of process `pid`. */
function holds(folder: string, pid: number | undefined): boolean {
  try {
    return JSON.parse(readFileSync(join(folder, 'run.lock'), 'utf8')).pid === pid;
  } catch {
    return false; // there is none, or it is being written
  }
}

/** A second trainer, which must be refused and told by whom. */
const secondTrainer: Fault = {
  name: 'two trainers',
  async disturb(folder, resumed, random) {
    const first = start(trainArguments(folder, resumed));
    const deadline = Date.now() + 20_000;
    const locked = () => existsSync(join(folder, 'run.json')) && holds(folder, first.child.pid);
    while (!locked() && isAlive(first) && Date.now() < deadline) await sleep(10);
    // Suspended, so that it is there for as long as the second takes to ask.
    first.child.kill('SIGSTOP');
    const second = await start(trainArguments(folder, true)).ended;
    const struck = isAlive(first) && locked();
    first.child.kill('SIGCONT');
    await sleep(upTo(random, 500));
    first.child.kill('SIGKILL');
    const ended = await first.ended;
    const refused = second.code !== 0 && new RegExp(`process ${first.child.pid}\\b`).test(second.stderr);
    const wrong = refused || !struck ? null : `the second trainer was not refused: ${second.code} ${second.stderr}`;
    return { ended, wrong, struck };
  },
};

/** A file of the newest checkpoint cut short, as by a disk that lied; the command names the whole one before it. */
const cutCheckpoint: Fault = {
  name: 'cut checkpoint',
  async disturb(folder, resumed, random) {
    const checkpoints = join(folder, 'checkpoints');
    const [before, newest] = checkpointsOf(folder).slice(-2).map(checkpointName);
    if (!resumed || before === undefined || newest === undefined) {
      const running = start(trainArguments(folder, resumed));
      await randomMoment(running, folder, left(folder), random);
      running.child.kill('SIGTERM');
      return { ended: await running.ended, wrong: null, struck: false };
    }
    const path = join(checkpoints, newest, oneOf(random, readdirSync(join(checkpoints, newest))));
    truncateSync(path, upTo(random, statSync(path).size));
    const ended = await start(trainArguments(folder, true)).ended;
    const named = ended.code !== 0 && ended.stderr.includes(before);
    const wrong = named ? null : `a cut ${path} did not name ${before}: ${ended.code} ${ended.stderr}`;
    return { ended, wrong, struck: true };
  },
};

/** The one that a process cannot answer. */
export const KILL = signalled('SIGKILL');
/** Too few file descriptors. */
export const DESCRIPTORS = limited('descriptors', (random) => `-n ${18 + upTo(random, 24)}`);

const FULL_DISK = limited('full disk', (random) => `-f ${1 + upTo(random, 60)}`);
/** What is dealt out, over and over. */
const OTHERS: readonly Fault[] = [
  ...[signalled('SIGTERM'), signalled('SIGINT'), signalled('SIGHUP')],
  ...[FULL_DISK, FULL_DISK, DESCRIPTORS, lostPipe, lostPipe, secondTrainer, cutCheckpoint],
];

/** How many kills and how many other faults are still wanted. */
export interface Wanted {
  kills: number;
  others: number;
}

/** A kill or another fault, by how many are wanted of each; the others in a random order, in which each kind has its turn. */
export function faultsOf(wanted: Readonly<Wanted>): (random: Random) => Fault {
  let deck: Fault[] = [];
  return (random) => {
    if (random() * (wanted.kills + wanted.others) < wanted.kills) return KILL;
    if (deck.length === 0) deck = [...OTHERS];
    return deck.splice(upTo(random, deck.length), 1)[0] as Fault;
  };
}
