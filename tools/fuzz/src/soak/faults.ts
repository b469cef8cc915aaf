import { existsSync, readdirSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { oneOf, type Random, upTo } from '../random.ts';
import { checkpointName, checkpointsOf } from './check.ts';
import { type Ended, start, trainArguments } from './run.ts';

/** What a fault left behind: how the disturbed process ended, and what should not have been. */
export interface Outcome {
  readonly ended: Ended;
  readonly wrong: string | null;
}

/** Something that happens to a run. */
export interface Fault {
  readonly name: string;
  /** Of all faults; kills are the most frequent. */
  readonly weight: number;
  /** Disturbs the run in `folder`, which may be there already, and waits for the end. */
  disturb(folder: string, resumed: boolean, random: Random): Promise<Outcome>;
}

/** From a moment in the start of Node to the last step. */
const LATEST = 4000;

const fine = (ended: Ended): Outcome => ({ ended, wrong: null });

function signalled(signal: NodeJS.Signals, weight: number): Fault {
  return {
    name: signal,
    weight,
    async disturb(folder, resumed, random) {
      const { child, ended } = start(trainArguments(folder, resumed));
      await sleep(upTo(random, LATEST));
      child.kill(signal);
      return fine(await ended);
    },
  };
}

function limited(name: string, weight: number, limits: (random: Random) => string): Fault {
  return {
    name,
    weight,
    disturb: async (folder, resumed, random) =>
      fine(await start(trainArguments(folder, resumed), limits(random)).ended),
  };
}

/** A reader of standard output, or of standard error, that goes away. */
const lostPipe: Fault = {
  name: 'lost pipe',
  weight: 2,
  async disturb(folder, resumed, random) {
    const json = random() < 0.5 ? ['--json'] : [];
    const { child, ended } = start([...trainArguments(folder, resumed), ...json]);
    const stream = random() < 0.7 ? child.stdout : child.stderr;
    await sleep(upTo(random, LATEST));
    stream?.destroy();
    return fine(await ended);
  },
};

/** A second trainer, which must be refused and told by whom. */
const secondTrainer: Fault = {
  name: 'two trainers',
  weight: 2,
  async disturb(folder, resumed, random) {
    const first = start(trainArguments(folder, resumed));
    const deadline = Date.now() + 20_000;
    const locked = () => existsSync(join(folder, 'run.lock')) && existsSync(join(folder, 'run.json'));
    while (!locked() && first.child.exitCode === null && Date.now() < deadline) await sleep(2);
    const second = await start(trainArguments(folder, true)).ended;
    const over = first.child.exitCode !== null;
    await sleep(upTo(random, 500));
    first.child.kill('SIGKILL');
    const ended = await first.ended;
    // A first trainer that had ended may be followed by the second; one that runs may not.
    const refused = second.code !== 0 && new RegExp(`process ${first.child.pid}\\b`).test(second.stderr);
    const wrong = refused || over ? null : `the second trainer was not refused: ${second.code} ${second.stderr}`;
    return { ended, wrong };
  },
};

/** A file of the newest checkpoint cut short, as by a disk that lied; the command names the whole one before it. */
const cutCheckpoint: Fault = {
  name: 'cut checkpoint',
  weight: 1,
  async disturb(folder, resumed, random) {
    const checkpoints = join(folder, 'checkpoints');
    const [before, newest] = checkpointsOf(folder).slice(-2).map(checkpointName);
    if (!resumed || before === undefined || newest === undefined) {
      return fine(await start(trainArguments(folder, resumed)).ended);
    }
    const path = join(checkpoints, newest, oneOf(random, readdirSync(join(checkpoints, newest))));
    truncateSync(path, upTo(random, statSync(path).size));
    const ended = await start(trainArguments(folder, true)).ended;
    const named = ended.code !== 0 && ended.stderr.includes(before);
    return { ended, wrong: named ? null : `a cut ${path} did not name ${before}: ${ended.code} ${ended.stderr}` };
  },
};

const FAULTS: readonly Fault[] = [
  signalled('SIGKILL', 20),
  signalled('SIGTERM', 2),
  signalled('SIGINT', 2),
  signalled('SIGHUP', 2),
  limited('full disk', 4, (random) => `-f ${1 + upTo(random, 1200)}`),
  limited('descriptors', 2, (random) => `-n ${18 + upTo(random, 24)}`),
  lostPipe,
  secondTrainer,
  cutCheckpoint,
];

/** A fault by weight. */
export function drawFault(random: Random): Fault {
  const total = FAULTS.reduce((sum, { weight }) => sum + weight, 0);
  let left = random() * total;
  for (const fault of FAULTS) {
    left -= fault.weight;
    if (left < 0) return fault;
  }
  return FAULTS[0] as Fault;
}
