import tab from '@bomb.sh/tab/commander';
import { BENCHMARKS } from '@lazy-attention/evaluation';
import { Argument, Command, Option } from 'commander';
import { backendsCommand } from '../commands/backends.ts';
import { type BenchmarkCommandOptions, benchmarkCommand } from '../commands/benchmark.ts';
import { type CompareOptions, compareCommand } from '../commands/compare.ts';
import { type EvaluateCommandOptions, evaluateCommand } from '../commands/evaluate.ts';
import { type ExportCommandOptions, exportCommand } from '../commands/export.ts';
import { type GenerateCommandOptions, generateCommand } from '../commands/generate.ts';
import { type InspectCommandOptions, inspectCommand } from '../commands/inspect.ts';
import { type PlaygroundOptions, playgroundCommand } from '../commands/playground.ts';
import { type ReportOptions, reportCommand } from '../commands/report.ts';
import { type ScoreCommandOptions, scoreCommand } from '../commands/score.ts';
import { type StudyOptions, studyCommand } from '../commands/study.ts';
import { type TokenizeCommandOptions, tokenizeCommand } from '../commands/tokenize.ts';
import { type TrainOptions, trainCommand } from '../commands/train.ts';
import type { TrainingOption } from '../options/option.ts';
import { OPTION_ROWS } from '../options/rows.ts';
import { FORMATS, KINDS, LONGEST_AXIS, TRAINING_OPTIONS } from '../options/table.ts';
import { choices, integer, range, share } from '../options/values.ts';
import { MODEL } from '../run/model.ts';
import { MOST_SEEDS } from '../run/schema.ts';
import { STUDIES } from '../study/studies.ts';
import { checkedOption } from './parse.ts';

/** What DATA may be. */
const DATA =
  "text file, folder, .jsonl, .parquet, also .gz and .zst, a store, 'moby-dick' (embedded, the default), 'bigram-backcopy' or 'moving-marker' (by default one-head at --context 128, --batch 16, --lr 8e-3, --steps 2500)";

/** Headings in --help, by the section of run.json that an option decides. */
const GROUPS: Readonly<Record<string, string>> = {
  preset: 'Model:',
  model: 'Model:',
  data: 'Data:',
  training: 'Training:',
  start: 'Starting from a model:',
  rhythm: 'Evaluations and checkpoints:',
  sample: 'Sample:',
};

/** Below the --help of a command. */
export const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  train: [
    'train',
    'train book.txt --preset small --steps 2000 --out runs/book',
    'train --resume --out runs/book',
    'train corpus.jsonl --field body --tokenizer gpt2/tokenizer.json --plan',
  ],
  tokenize: ['tokenize corpus/ --tokenizer gpt2/tokenizer.json --out corpus.store'],
  compare: ['compare --preset nano --seeds 3 --attention softmax,lazy --out runs/compare'],
  study: ['study moving-marker --seeds 3'],
  generate: ["generate runs/book --prompt 'Call me' --tokens 100 --temperature 0.7"],
  eval: ['eval runs/book', 'eval smollm2/ --data other.txt --json'],
  inspect: ["inspect runs/book --prompt 'Call me Ishmael.' --out heads.html"],
  score: ['score runs/book requests.jsonl --json'],
  benchmark: ['benchmark runs/book --data items --tasks piqa,arc_easy --limit 100'],
  report: ['report runs/book runs/compare --out report.html'],
  export: ['export runs/book --format hf --out book-hf', 'export runs/book --format gguf --out book.gguf --dtype f16'],
  playground: ['playground --open'],
  backends: ['backends', 'backends --json'],
  completion: ['completion bash > /etc/bash_completion.d/lazy-attention', 'completion zsh > ~/.zfunc/_lazy-attention'],
};

/** `withOwnAttention` reads these before the commands are made. */
const OWN_ATTENTION = `
Attention of your own: train and compare take a file in the place of a kind (--attention ./mine.ts); other commands
on its runs need --define ./mine.ts. The file's code is run.`;

/** The `lazy-attention` command. `done` receives the exit code of the command that ran. */
export function createProgram(version: string, done: (exitCode: number) => void): Command {
  const program = new Command('lazy-attention')
    .description('Train, run and measure Lazy Attention language models')
    .version(version)
    .addHelpText('after', OWN_ATTENTION)
    .showHelpAfterError('(lazy-attention COMMAND --help lists the options)')
    .showSuggestionAfterError();
  program.commandsGroup('Train:');
  addTrain(program, done);
  addTokenize(program, done);
  addCompare(program, done);
  addStudy(program, done);
  program.commandsGroup('Use and measure:');
  addGenerate(program, done);
  addEvaluate(program, done);
  addInspect(program, done);
  addScore(program, done);
  addBenchmark(program, done);
  program.commandsGroup('Show and share:');
  addReport(program, done);
  addExport(program, done);
  addPlayground(program, done);
  program.commandsGroup('This machine:');
  addBackends(program, done);
  addCompletion(program);
  for (const command of program.commands) {
    const examples = EXAMPLES[command.name()];
    if (examples !== undefined)
      command.addHelpText('after', `\nExamples:\n${examples.map((e) => `  $ lazy-attention ${e}`).join('\n')}`);
  }
  return program;
}

const backendOption = () =>
  new Option(
    '--backend <name>',
    "cpu, cuda, webgpu, tfjs, reference, an npm package, or 'auto': the best that works",
  ).default('auto');

const json = () => new Option('--json', 'JSON on standard output, for programs');

const config = () =>
  new Option(
    '--config <file>',
    "a recipe: these options in JSON or YAML, in the program's spelling (weightDecay); flags go before it",
  );

/** `completion SHELL` prints a script for the shell, which asks the hidden command `complete` at every TAB. */
function addCompletion(program: Command): void {
  tab(program, { completionCommandName: 'completion' });
  program.commands
    .find((command) => command.name() === 'completion')
    ?.description('print what makes TAB complete commands, options and choices');
  program.helpCommand('help [command]', 'all about a command').commandsGroup('This machine:');
}

function addTrain(program: Command, done: (code: number) => void): void {
  const command = program
    .command('train')
    .description('train a model; without anything said, nano on Moby Dick')
    .option('--out <folder>', 'where the run goes (default: runs/PRESET-ATTENTION)')
    .option('--resume', 'go on with the run in --out');
  for (const [, option] of OPTION_ROWS) if (option.single) addTraining(command, option);
  command.argument('[data]', DATA);
  addTrainingOptions(command)
    .option('--no-store', 'keep large data in memory, and tokenise it anew at every start')
    .option('--open', 'a live page of the run in the browser')
    .addOption(config())
    .option('--plan', 'say what the run would take (shape, FLOPs, memory, time), and write nothing')
    .addOption(json())
    .action(async (data: string | undefined, options: TrainOptions) => done(await trainCommand(data, options)));
}

function addTokenize(program: Command, done: (code: number) => void): void {
  program
    .command('tokenize')
    .description('turn text into a store of tokens on the disk, for train STORE; goes on where it was stopped')
    .argument(
      '<data>',
      "text file, folder, .jsonl, .parquet, also .gz and .zst, an http address, or '-' (standard input)",
    )
    .requiredOption('--out <store>', 'folder of the store')
    .option('--tokenizer <path>', 'a tokenizer.json or its folder (default: bytes)')
    .option(TRAINING_OPTIONS.bos.flags, TRAINING_OPTIONS.bos.help)
    .option(TRAINING_OPTIONS.eos.flags, TRAINING_OPTIONS.eos.help)
    .addOption(new Option('--format <name>', 'of the data, instead of what its name says').choices(FORMATS))
    .option('--field <name>', "field of JSONL lines (default: 'text')")
    .option('--column <name>', "column of a parquet file (default: 'text')")
    .addOption(checkedOption('--workers <n>', 'threads that tokenise (default: one for each core)', integer(1, 1024)))
    .addOption(json())
    .action(async (data: string, options: TokenizeCommandOptions) => done(await tokenizeCommand(data, options)));
}

function addCompare(program: Command, done: (code: number) => void): void {
  const kinds = `some of ${KINDS.join(',')} (default: lazy, its parts, softmax and ALiBi; all on a synthetic task)`;
  const command = program
    .command('compare')
    .description('train softmax, ALiBi, lazy and its ablations alike, and write one report')
    .addOption(checkedOption('--attention <kinds>', kinds, choices(KINDS)))
    .addOption(
      checkedOption('--seeds <n>', 'runs of each kind, with seeds 0, 1, ... (default: 1)', integer(1, MOST_SEEDS)),
    )
    .option('--out <folder>', 'where runs and report go (default: runs/compare-PRESET)')
    .option('--resume', 'go on with the comparison in --out');
  command.argument('[data]', DATA);
  addTrainingOptions(command)
    .addOption(config())
    .option('--open', 'show the report in the browser')
    .addOption(json())
    .action(async (data: string | undefined, options: CompareOptions) => done(await compareCommand(data, options)));
}

function addStudy(program: Command, done: (code: number) => void): void {
  const names = Object.entries(STUDIES).map(([name, { description }]) => `  ${name.padEnd(14)} ${description}`);
  const command = program
    .command('study')
    .description('train what answers a question, measure it, and write a table (table.json)')
    .addArgument(new Argument('<name>', 'of the study').choices(Object.keys(STUDIES)))
    .argument('[data]', "what it trains on (default: the study's own)")
    .addOption(checkedOption('--attention <kinds>', "some of the kinds (default: the study's own)", choices(KINDS)))
    .addOption(checkedOption('--seeds <n>', 'runs of each, with seeds 0, 1, ... (default: 1)', integer(1, MOST_SEEDS)))
    .option('--out <folder>', 'where runs and table go (default: runs/study-NAME)')
    .option('--resume', 'go on with the study in --out')
    .addHelpText('after', `\nStudies:\n${names.join('\n')}`);
  addTrainingOptions(command)
    .addOption(json())
    .action(async (name: string, data: string | undefined, options: StudyOptions) =>
      done(await studyCommand(name, data, options)),
    );
}

/** What decides how one or several runs are trained. */
function addTrainingOptions(command: Command): Command {
  command.addOption(backendOption().default(undefined, "'auto'; that of the run with --resume"));
  for (const [, option] of OPTION_ROWS) if (!option.single) addTraining(command, option);
  return command;
}

function addTraining(command: Command, { flags, help, value, recorded }: TrainingOption): void {
  const [section] = recorded?.split('.') ?? ['data'];
  command.addOption(checkedOption(flags, help, value).helpGroup(GROUPS[section] ?? 'Options:'));
}

function addPlayground(program: Command, done: (code: number) => void): void {
  program
    .command('playground')
    .description('serve the page on which two models train side by side in the browser')
    .addOption(checkedOption('--port <n>', 'port of this machine, 0 for any', integer(0, 65_535)).default(4180))
    .option('--open', 'show it in the browser')
    .action(async (options: PlaygroundOptions) => {
      await playgroundCommand(options);
      done(0);
    });
}

function addReport(program: Command, done: (code: number) => void): void {
  program
    .command('report')
    .description('one HTML file on any runs and comparisons')
    .argument('<run...>', 'folders that train or compare wrote')
    .option('--out <file>', 'the report', 'report.html')
    .option('--title <text>', 'its title')
    .option('--picture <file>', 'also an SVG picture of the attention maps')
    .addOption(backendOption())
    .option('--open', 'show it in the browser')
    .addOption(json())
    .action(async (runs: string[], options: ReportOptions) => {
      await reportCommand(runs, options);
      done(0);
    });
}

function addGenerate(program: Command, done: (code: number) => void): void {
  program
    .command('generate')
    .description('continue a text with a model')
    .argument('<model>', MODEL)
    .requiredOption('--prompt <text>', 'what to continue')
    .addOption(checkedOption('--tokens <n>', 'how many', integer(1, LONGEST_AXIS)).default(200))
    .addOption(checkedOption('--temperature <x>', '0 takes the likeliest', range(0, 100)).default(0.8))
    .addOption(checkedOption('--top-k <n>', 'only the n likeliest', integer(1)))
    .addOption(checkedOption('--top-p <x>', 'only the likeliest that make up this probability', share))
    .addOption(checkedOption('--seed <n>', 'another seed, another text', integer(0)).default(0))
    .addOption(backendOption().default(undefined, 'auto'))
    .addOption(
      new Option(
        '--weights <format>',
        'dense: f32; blocks: as a GGUF has its quantised ones, faster with the same values; bf16: rounded unless stored so (default: as the file stores them, where the backend can)',
      ).choices(['dense', 'blocks', 'bf16']),
    )
    .addOption(
      new Option('--runtime <name>', 'native: a backend; onnx: onnxruntime')
        .choices(['native', 'onnx'])
        .default('native'),
    )
    .addOption(new Option('--provider <name>', 'of --runtime onnx (default: cpu)').choices(['cpu', 'webgpu', 'cuda']))
    .addOption(json())
    .action(async (model: string, options: GenerateCommandOptions) => {
      await generateCommand(model, options);
      done(0);
    });
}

function addExport(program: Command, done: (code: number) => void): void {
  program
    .command('export')
    .description('write a model for other programs: Hugging Face, fla, GGUF, or (also one attention layer) ONNX')
    .argument('[model]', MODEL)
    .option('--checkpoint <folder>', 'the same, as an option')
    .addOption(
      new Option('--format <name>', 'of what is written').choices(['onnx', 'hf', 'fla', 'gguf']).default('onnx'),
    )
    .requiredOption('--out <path>', 'a new folder; of onnx the new file')
    .addOption(
      new Option('--dtype <type>', "of hf, fla and gguf's weights (default: the model's own, or f32)").choices([
        'f32',
        'bf16',
        'f16',
        'f64',
      ]),
    )
    .addOption(checkedOption('--attention-layer <n>', 'only the attention of this layer, counted from 0', integer(0)))
    .addOption(checkedOption('--max-length <n>', 'most tokens of a sequence (default: 4 * context)', integer(1)))
    .addOption(checkedOption('--opset <n>', '17 to 20 (default: 17)', integer(17)))
    .addOption(json())
    .action(async (model: string | undefined, options: ExportCommandOptions) => {
      await exportCommand(model, options);
      done(0);
    });
}

function addInspect(program: Command, done: (code: number) => void): void {
  program
    .command('inspect')
    .description('what the attention of a model does: sinks, zeros, entropy, massive activations, by layer and head')
    .argument('<model>', MODEL)
    .argument('[data]', 'text file, folder, .jsonl or .parquet (default: the embedded book)')
    .option('--prompt <text>', 'look at this text instead')
    .addOption(new Option('--format <name>', 'of the data').choices(FORMATS))
    .option('--field <name>', 'field of JSONL lines')
    .option('--column <name>', 'column of a parquet file')
    .addOption(checkedOption('--context <n>', 'tokens per row (default: 512)', integer(2)))
    .addOption(checkedOption('--windows <n>', 'rows of the data looked at', integer(1)).default(8))
    .option('--out <file>', 'also the report page, with maps of the heads with the strongest sinks')
    .addOption(backendOption())
    .addOption(json())
    .action(async (model: string, data: string | undefined, options: InspectCommandOptions) => {
      await inspectCommand(model, data, options);
      done(0);
    });
}

function addEvaluate(program: Command, done: (code: number) => void): void {
  program
    .command('eval')
    .description('loss, perplexity, bits per byte, sparsity and sinks of a model')
    .argument('<model>', MODEL)
    .option('--data <path>', 'evaluate on all of this text or store, not on the held-out part or the embedded book')
    .addOption(new Option('--format <name>', 'of --data').choices(FORMATS))
    .option('--field <name>', 'field of JSONL lines')
    .option('--column <name>', 'column of a parquet file')
    .addOption(
      checkedOption(
        '--context <n>',
        "tokens per sequence; of a run also more than it was trained on (default: the run's; 512 of another model)",
        integer(2),
      ),
    )
    .option('--by-position', 'losses by position in the sequence, too')
    .addOption(checkedOption('--windows <n>', 'sequences looked at', integer(1)).default(256))
    .addOption(
      checkedOption(
        '--batch <n>',
        'sequences at a time (default: 8, or those of the run where they are fewer)',
        integer(1),
      ),
    )
    .addOption(backendOption())
    .addOption(json())
    .action(async (model: string, options: EvaluateCommandOptions) => {
      await evaluateCommand(model, options);
      done(0);
    });
}

function addScore(program: Command, done: (code: number) => void): void {
  program
    .command('score')
    .description('log-likelihoods of given texts under a model, one line for each request')
    .argument('<model>', MODEL)
    .argument('<requests>', "JSONL of { context, continuation }, { text } or { ids }; '-' is standard input")
    .option('--tokens', 'ids and log-probabilities of every scored token, too')
    .addOption(checkedOption('--context <n>', "longest input in tokens (default: the model's)", integer(1)))
    .addOption(checkedOption('--batch-tokens <n>', 'tokens of one forward pass', integer(1)).default(2048))
    .addOption(backendOption())
    .addOption(json())
    .action(async (model: string, requests: string, options: ScoreCommandOptions) => {
      await scoreCommand(model, requests, options);
      done(0);
    });
}

function addBenchmark(program: Command, done: (code: number) => void): void {
  const names = [...BENCHMARKS.keys()];
  program
    .command('benchmark')
    .description("accuracies and perplexities by lm-eval's rules, from local items")
    .argument('<model>', MODEL)
    .addOption(checkedOption('--tasks <list>', `some of ${names.join(',')}`, choices(names)).default(names, 'all'))
    .requiredOption('--data <folder>', 'where the items are: FOLDER/TASK/SPLIT.jsonl or .parquet, as the hub has them')
    .addOption(checkedOption('--limit <n>', 'items of each task (default: all)', integer(1)))
    .addOption(checkedOption('--few-shot <k>', 'examples before each item', integer(0, 1000)).default(0))
    .addOption(
      new Option('--few-shot-sampler <name>', 'drawn as lm-eval draws them, or the first ones')
        .choices(['random', 'first'])
        .default('random'),
    )
    .option('--samples <file>', 'a line of JSON for each item; an interrupted benchmark goes on from it')
    .addOption(checkedOption('--context <n>', "longest input in tokens (default: the model's)", integer(1)))
    .addOption(checkedOption('--batch-tokens <n>', 'tokens of one forward pass', integer(1)).default(2048))
    .addOption(backendOption())
    .addOption(json())
    .action(async (model: string, options: BenchmarkCommandOptions) => done(await benchmarkCommand(model, options)));
}

function addBackends(program: Command, done: (code: number) => void): void {
  program
    .command('backends')
    .description('what is there, why not, and how to get it')
    .option('--verbose', 'also what drivers print')
    .addOption(json())
    .action(async (options: { json?: boolean; verbose?: boolean }) => {
      await backendsCommand(options);
      done(0);
    });
}
