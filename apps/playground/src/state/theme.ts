import { effect, signal } from '@preact/signals';

/** 'light' or 'dark' where the reader has chosen; null follows the system. */
export const chosenTheme = signal<'light' | 'dark' | null>(null);
const system = matchMedia('(prefers-color-scheme: dark)');
const systemDark = signal(system.matches);
system.addEventListener('change', () => {
  systemDark.value = system.matches;
});

/** What is shown. */
export function theme(): 'light' | 'dark' {
  return chosenTheme.value ?? (systemDark.value ? 'dark' : 'light');
}

effect(() => {
  document.documentElement.dataset.theme = theme();
});
