import { ATTENTION_KINDS, PRESETS } from '@lazy-attention/nn';
import { Command, Option } from 'commander';
import { backendsCommand } from '../commands/backends.ts';
import { type CompareOptions, compareCommand } from '../commands/compare.ts';
import { type EvaluateCommandOptions, evaluateCommand } from '../commands/evaluate.ts';
import { type ExportCommandOptions, exportCommand } from '../commands/export.ts';
import { type GenerateCommandOptions, generateCommand } from '../commands/generate.ts';
import { type ReportOptions, reportCommand } from '../commands/report.ts';
import { type TrainOptions, trainCommand } from '../commands/train.ts';
import { integerFrom, listOf, numberIn, positiveNumber, shareOf } from './parse.ts';

const FORMATS = ['text', 'jsonl', 'parquet', 'folder'];

/** The `lazy-attention` command. `done` receives the exit code of the command that ran. */
export function createProgram(version: string, done: (exitCode: number) => void): Command {
  const program = new Command('lazy-attention')
    .description('Train, run and measure Lazy Attention language models')
    .version(version)
    .showHelpAfterError('(lazy-attention COMMAND --help lists the options)')
    .showSuggestionAfterError();
  addTrain(program, done);
  addGenerate(program, done);
  addEvaluate(program, done);
  addCompare(program, done);
  addReport(program, done);
  addExport(program, done);
  addBackends(program, done);
  return program;
}

const backendOption = () =>
  new Option(
    '--backend <name>',
    "cpu, cuda, webgpu, tfjs, reference, an npm package, or 'auto': the best that works",
  ).default('auto');

const json = () => new Option('--json', 'JSON on standard output, for programs');

function addTrain(program: Command, done: (code: number) => void): void {
  const command = program
    .command('train')
    .description('train a model; without anything said, nano on Moby Dick')
    .addOption(new Option('--attention <kind>', 'lazy (default), a baseline or an ablation').choices(ATTENTION_KINDS))
    .option('--out <folder>', 'where the run goes (default: runs/PRESET-ATTENTION)')
    .option('--resume', 'go on with the run in --out')
    .option('--seed <n>', 'of weights, data order and sample (default: 0)', integerFrom(0))
    .option('--prompt <text>', 'what the sample begins with (default: the first held-out words)');
  addTrainingOptions(command)
    .option('--open', 'a live page of the run in the browser')
    .addOption(json())
    .action(async (data: string | undefined, options: TrainOptions) => done(await trainCommand(data, options)));
}

function addCompare(program: Command, done: (code: number) => void): void {
  const command = program
    .command('compare')
    .description('train softmax, ALiBi, lazy and its ablations alike, and write one report')
    .option('--attention <kinds>', `some of ${ATTENTION_KINDS.join(',')} (default: all)`, listOf(ATTENTION_KINDS))
    .option('--seeds <n>', 'runs of each kind, with seeds 0, 1, ... (default: 1)', integerFrom(1))
    .option('--out <folder>', 'where runs and report go (default: runs/compare-PRESET)')
    .option('--resume', 'go on with the comparison in --out');
  addTrainingOptions(command)
    .option('--open', 'show the report in the browser')
    .addOption(json())
    .action(async (data: string | undefined, options: CompareOptions) => done(await compareCommand(data, options)));
}

/** What decides how one or several runs are trained. */
function addTrainingOptions(command: Command): Command {
  return command
    .argument('[data]', "text file, folder, .jsonl, .parquet, or 'moby-dick' (embedded, the default)")
    .addOption(new Option('--preset <name>', 'model size (default: nano, or pico on a slow backend)').choices(PRESETS))
    .addOption(backendOption().default(undefined, "'auto'; that of the run with --resume"))
    .addOption(
      new Option('--dtype <type>', 'of the forward pass; weights stay f32 (default: f32)').choices([
        'f32',
        'bf16',
        'f16',
      ]),
    )
    .option('--steps <n>', 'training steps', integerFrom(1))
    .option('--batch <n>', 'sequences per step', integerFrom(1))
    .option('--context <n>', 'tokens per sequence', integerFrom(2))
    .option('--window <n>', 'width W of the learnable bias', integerFrom(1))
    .option('--lr <x>', 'peak learning rate', positiveNumber)
    .option('--warmup <n>', 'steps of linear warm-up', integerFrom(0))
    .option('--floor <x>', 'last learning rate as a share of the peak (default: 0.1)', numberIn(0, 1))
    .option('--weight-decay <x>', 'on matrices (default: 0.1)', numberIn(0, 10))
    .option('--clip <x>', 'largest gradient norm, 0 for none (default: 1)', numberIn(0, 1e9))
    .option('--validation <x>', 'share of the data held out (default: 0.1)', numberIn(0, 0.99))
    .option('--tokenizer <path>', 'a tokenizer.json or its folder (default: bytes)')
    .addOption(new Option('--format <name>', 'of the data, instead of what its name says').choices(FORMATS))
    .option('--field <name>', "field of JSONL lines (default: 'text')")
    .option('--column <name>', "column of a parquet file (default: 'text')")
    .option(
      '--eval-every <n>',
      'steps between validation losses, 0 for the end only (default: a fifth)',
      integerFrom(0),
    )
    .option('--eval-windows <n>', 'held-out sequences looked at in between (default: 32)', integerFrom(1))
    .option('--final-eval-windows <n>', 'held-out sequences looked at in the end (default: 256)', integerFrom(1))
    .option('--checkpoint-every <n>', 'steps between checkpoints (default: a fifth)', integerFrom(1))
    .option('--keep <n>', 'checkpoints kept (default: 2)', integerFrom(1))
    .option('--sample-tokens <n>', 'length of the sample (default: 200)', integerFrom(1));
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
    .description('continue a text with a trained model')
    .argument('<run>', 'folder that train wrote')
    .requiredOption('--prompt <text>', 'what to continue')
    .option('--tokens <n>', 'how many', integerFrom(1), 200)
    .option('--temperature <x>', '0 takes the likeliest', numberIn(0, 100), 0.8)
    .option('--top-k <n>', 'only the n likeliest', integerFrom(1))
    .option('--top-p <x>', 'only the likeliest that make up this probability', shareOf)
    .option('--seed <n>', 'another seed, another text', integerFrom(0), 0)
    .addOption(backendOption().default(undefined, 'auto'))
    .addOption(
      new Option('--runtime <name>', 'native: a backend; onnx: onnxruntime')
        .choices(['native', 'onnx'])
        .default('native'),
    )
    .addOption(new Option('--provider <name>', 'of --runtime onnx (default: cpu)').choices(['cpu', 'webgpu', 'cuda']))
    .addOption(json())
    .action(async (run: string, options: GenerateCommandOptions) => {
      await generateCommand(run, options);
      done(0);
    });
}

function addExport(program: Command, done: (code: number) => void): void {
  program
    .command('export')
    .description('write a trained model, or one attention layer of it, as an ONNX file')
    .requiredOption('--checkpoint <folder>', 'a checkpoint, or a run (its last one)')
    .requiredOption('--out <file>', 'where the .onnx file goes')
    .option('--attention-layer <n>', 'only the attention of this layer, counted from 0', integerFrom(0))
    .option('--max-length <n>', 'most tokens of a sequence (default: 4 * context)', integerFrom(1))
    .option('--opset <n>', '17 to 20 (default: 17)', integerFrom(17))
    .action(async (options: ExportCommandOptions) => {
      await exportCommand(options);
      done(0);
    });
}

function addEvaluate(program: Command, done: (code: number) => void): void {
  program
    .command('eval')
    .description('loss, perplexity, bits per byte, sparsity and sinks of a trained model')
    .argument('<run>', 'folder that train wrote')
    .option('--data <path>', 'evaluate on all of this instead of the held-out part')
    .addOption(new Option('--format <name>', 'of --data').choices(FORMATS))
    .option('--field <name>', 'field of JSONL lines')
    .option('--column <name>', 'column of a parquet file')
    .option('--windows <n>', 'sequences looked at', integerFrom(1), 256)
    .option('--batch <n>', 'sequences at a time', integerFrom(1), 8)
    .addOption(backendOption())
    .addOption(json())
    .action(async (run: string, options: EvaluateCommandOptions) => {
      await evaluateCommand(run, options);
      done(0);
    });
}

function addBackends(program: Command, done: (code: number) => void): void {
  program
    .command('backends')
    .description('what is there, why not, and how to get it')
    .addOption(json())
    .action(async (options: { json?: boolean }) => {
      await backendsCommand(options);
      done(0);
    });
}
