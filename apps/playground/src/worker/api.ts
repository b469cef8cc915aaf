import type { Settings } from '../engine/settings.ts';
import type { SideView } from '../engine/view.ts';
import type { Frame } from '../record/format.ts';

/** Which engine computes: the best that works here, or one by name. */
export type EngineChoice = 'auto' | 'webgpu' | 'tfjs' | 'reference';

/** What computes. */
export interface Device {
  readonly backend: string;
  /** For people. */
  readonly name: string;
  /** Why a better engine was not taken; '' where the best was. */
  readonly note: string;
}

/** Told of a training. */
export interface TrainingEvents {
  /** After every few steps: number, losses left and right, milliseconds of a step of both. */
  step(step: number, losses: readonly [number, number], milliseconds: number): void;
  frame(frame: Frame): void;
  /** It has come to its end (''), or to an error, whose sentence this is. */
  ended(problem: string): void;
}

/** What a training shows its maps of. */
export interface Started {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
}

/** A model on one side. */
export interface ModelInfo {
  readonly name: string;
  readonly kind: string;
  readonly layers: number;
  readonly heads: number;
  readonly parameters: number;
  readonly hasTokenizer: boolean;
}

/** A change of one head's tau, for looking only. */
export interface TauChange {
  readonly layer: number;
  readonly head: number;
  readonly value: number;
}

/** What the models of both sides make of a text. */
export interface Looked {
  readonly sides: readonly [SideLook | null, SideLook | null];
}

/** What one model makes of it. */
export interface SideLook {
  readonly tokens: readonly string[];
  readonly view: SideView | null;
  /** The likeliest next tokens. */
  readonly next: readonly { readonly token: string; readonly probability: number }[];
}

/** The worker, as the page calls it. Errors come as sentences that say what to do. */
export interface Engine {
  start(choice: EngineChoice): Promise<Device>;
  train(settings: Settings, events: TrainingEvents): Promise<Started>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** One step, then paused. */
  single(): Promise<void>;
  /** The weights of the recorded run on both sides. */
  useRecorded(kinds: readonly [string, string]): Promise<void>;
  open(side: 0 | 1, files: Readonly<{ [name: string]: Blob }>, name: string): Promise<ModelInfo>;
  /** A text, or ids where the text is a list of numbers and the model has no tokenizer. */
  look(input: string | readonly number[], tau: TauChange | null): Promise<Looked>;
  generate(side: 0 | 1, prompt: string, tokens: number, more: (text: string) => void): Promise<void>;
  /** The weights of a side as safetensors. */
  weights(side: 0 | 1): Promise<Uint8Array>;
}
