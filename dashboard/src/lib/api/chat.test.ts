import { describe, expect, it } from 'vitest';
import { parseChatLine } from './chat';

describe('parseChatLine', () => {
	it('reads content, thoughts and usage', () => {
		expect(parseChatLine('data: {"choices":[{"delta":{"content":"Hi"}}]}')).toEqual({
			content: 'Hi',
			reasoning: '',
			completionTokens: undefined
		});
		expect(
			parseChatLine('data: {"choices":[{"delta":{"reasoning":"hm","content":null}}]}')
		).toMatchObject({
			content: '',
			reasoning: 'hm'
		});
		expect(parseChatLine('data:{"choices":[],"usage":{"completion_tokens":7}}')).toMatchObject({
			completionTokens: 7
		});
	});
	it('knows the end, and lines that say nothing', () => {
		expect(parseChatLine('data: [DONE]')).toBe('done');
		for (const line of ['', ': keep-alive', 'event: x'])
			expect(parseChatLine(line)).toBeUndefined();
	});
	it('throws what went wrong', () => {
		expect(() => parseChatLine('data: {"error":{"message":"out of memory"}}')).toThrow(
			'out of memory'
		);
		expect(() => parseChatLine('data: {')).toThrow('the gateway sent a chunk that is not JSON');
	});
});
