/** Something alive that the end of a scope disposes. `Lifetimes` alone writes the fields. */
export interface Scoped {
  /** All of the open scope that it belongs to; null outside every scope. */
  scope: Scoped[] | null;
  /** Its place there, so that disposing it early takes neither a search nor a hash. */
  scopeIndex: number;
  /** Gives it back; doing so twice is allowed. */
  dispose(): void;
}
