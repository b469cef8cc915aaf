/** A number from the command line of `program`. What is none, or below `low`, ends the process with 2. */
export function number(program: string, name: string, text: string, low = 0): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < low) {
    console.error(`${program}: ${name} is '${text}'; expected a number from ${low}`);
    process.exit(2);
  }
  return value;
}
