/// <reference lib="dom" />

/** The system's choice of light or dark until the reader makes one; `changed` is told of every change. */
export function followTheme(changed: () => void): void {
  const button = document.getElementById('theme') as HTMLButtonElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  let chosen: boolean | null = null;
  const apply = () => {
    const dark = chosen ?? system.matches;
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
    button.textContent = dark ? 'Light' : 'Dark';
    button.setAttribute('aria-label', dark ? 'Change to light colours' : 'Change to dark colours');
    changed();
  };
  button.addEventListener('click', () => {
    chosen = !(chosen ?? system.matches);
    apply();
  });
  system.addEventListener('change', apply);
  apply();
}
