import { expect, test } from 'vitest';
import {
  disassemble,
  findTools,
  gradIssueSlots,
  hopperGradIssueSlots,
  hopperIssueSlots,
  issueSlots,
  LIMITS,
} from '../scripts/issue-slots.mjs';

test('attention issues no more instructions per tile than it may', { timeout: 800_000 }, (context) => {
  const tools = findTools();
  if (tools.missing !== undefined) return context.skip(tools.missing);
  const slots = [
    ...issueSlots(disassemble(tools, 'attention_forward')),
    ...gradIssueSlots(disassemble(tools, 'attention_grad')),
    ...hopperIssueSlots(disassemble(tools, 'attention_hopper')),
    ...hopperGradIssueSlots(disassemble(tools, 'attention_grad_hopper')),
  ];
  expect(slots.map(({ loop }) => loop).sort()).toEqual(Object.keys(LIMITS).sort());
  for (const { loop, plain } of slots) expect(plain, loop).toBeLessThanOrEqual(LIMITS[loop as keyof typeof LIMITS]);
});
