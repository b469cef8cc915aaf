/** A package that need not be installed; null when it is not. The name is not a literal, so that types are not asked for. */
export async function optional(name: string): Promise<Record<string, unknown> | null> {
  try {
    return (await import(name)) as Record<string, unknown>;
  } catch {
    return null;
  }
}
