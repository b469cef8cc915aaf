import 'uplot/dist/uPlot.min.css';
import './style.css';
import { render } from 'preact';
import { loadRecording, look } from './state/actions.ts';
import { fromHash } from './state/link.ts';
import { tau, text } from './state/store.ts';
import { App } from './ui/app.tsx';

const shared = fromHash(location.hash);
// Not in the task that compiled the script: together they would hold the page.
await new Promise((resolve) => setTimeout(resolve));
render(<App />, document.getElementById('app') as HTMLElement);
await loadRecording();
// For the tests: how long after navigation the recording is there.
requestAnimationFrame(() => performance.mark('replay'));
// A link with a text or a tau shows what it was made on.
if (shared && (text.value !== '' || tau.value !== null)) await look();
