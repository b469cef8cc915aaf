/** A backend that `auto` considers: its short name and the npm package that provides it. */
export interface Candidate {
  /** As in `createBackend(name)`. */
  readonly name: string;
  /** Of npm. */
  readonly package: string;
  /** Considered only where the probe says so: a GPU interface that is emulated on the CPU ranks below a native CPU. */
  readonly adapter?: 'hardware' | 'software';
  /** Where its fix is worth saying when no backend works: what is wrong with another is not worth mending there. */
  readonly advised?: 'node' | 'browser' | 'anywhere';
  /** The driver's device file, without which its fix is not worth saying either. */
  readonly driver?: string;
}

const scoped = (name: string, traits: Omit<Candidate, 'name' | 'package'> = {}): Candidate => ({
  name,
  package: `@lazy-attention/backend-${name}`,
  ...traits,
});

/** Best first. */
export const CANDIDATES: readonly Candidate[] = [
  scoped('cuda', { advised: 'node', driver: '/dev/nvidiactl' }),
  scoped('webgpu', { adapter: 'hardware', advised: 'browser' }),
  scoped('cpu', { advised: 'node' }),
  scoped('tfjs'),
  scoped('webgpu', { adapter: 'software' }),
  scoped('reference', { advised: 'anywhere' }),
];
