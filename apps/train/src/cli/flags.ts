import type { Command } from 'commander';

/** A package's message in the words of the command line: where it names one of its options, and that is a flag, the flag stands. */
export function inFlags(message: string, program: Command): string {
  const options = program.commands.flatMap((command) => command.options);
  return message.replace(/\bthe option '(\w+)'/g, (phrase, name: string) => {
    return options.find((option) => option.attributeName() === name)?.long ?? phrase;
  });
}
