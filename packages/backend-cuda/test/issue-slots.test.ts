import { expect, test } from 'vitest';
import {
  disassemble,
  findTools,
  gradIssueSlots,
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
  ];
  for (const { loop, plain } of slots) {
    if (loop in LIMITS) expect(plain, loop).toBeLessThanOrEqual(LIMITS[loop as keyof typeof LIMITS]);
  }
});
