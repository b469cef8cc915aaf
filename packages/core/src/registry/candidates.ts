/** A backend that `auto` considers: its short name and the npm package that provides it. */
export interface Candidate {
  /** As in `createBackend(name)`. */
  readonly name: string;
  /** Of npm. */
  readonly package: string;
  /** Considered only where the probe says so: a GPU interface that is emulated on the CPU ranks below a native CPU. */
  readonly adapter?: 'hardware' | 'software';
}

const scoped = (name: string, adapter?: Candidate['adapter']): Candidate => ({
  name,
  package: `@lazy-attention/backend-${name}`,
  ...(adapter === undefined ? {} : { adapter }),
});

/** Best first. */
export const CANDIDATES: readonly Candidate[] = [
  scoped('cuda'),
  scoped('webgpu', 'hardware'),
  scoped('cpu'),
  scoped('tfjs'),
  scoped('webgpu', 'software'),
  scoped('reference'),
];
