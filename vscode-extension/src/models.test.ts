import { expect, test } from 'vitest';
import { endpointSettings, scalePrompt, wrongModel, wrongReplicas } from './models.ts';

const base = 'http://localhost:8080';

test('endpoint settings are lines of an environment', () => {
	expect(endpointSettings(base, 'qwen3:0.6b', 'OpenAI')).toBe(
		'OPENAI_BASE_URL=http://localhost:8080/v1\nOPENAI_API_KEY=none\nOPENAI_MODEL=qwen3:0.6b\n'
	);
	expect(endpointSettings(base, 'Qwen/Qwen3-0.6B', 'Ollama')).toBe(
		'OLLAMA_HOST=http://localhost:8080/ollama\nOLLAMA_MODEL=Qwen/Qwen3-0.6B\n'
	);
	expect(endpointSettings(base, 'qwen3:0.6b', 'Anthropic')).toBe(
		'ANTHROPIC_BASE_URL=http://localhost:8080\nANTHROPIC_API_KEY=none\nANTHROPIC_MODEL=qwen3:0.6b\n'
	);
	expect(endpointSettings(base, 'm', 'All of them')).toBe(
		endpointSettings(base, 'm', 'OpenAI') +
			endpointSettings(base, 'm', 'Ollama') +
			endpointSettings(base, 'm', 'Anthropic')
	);
});

test('a shell takes no name apart', () => {
	for (const [model, line] of [
		['a b', `OLLAMA_MODEL='a b'`],
		['$(rm)', `OLLAMA_MODEL='$(rm)'`],
		[`it's`, `OLLAMA_MODEL='it'\\''s'`]
	] as const) {
		expect(endpointSettings(base, model, 'Ollama').split('\n')[1]).toBe(line);
	}
});

test('what is typed is checked', () => {
	expect(wrongModel(' hf.co/org/model:Q4 ')).toBeUndefined();
	for (const text of ['', ' ', 'a b', 'a\u0007', 'x'.repeat(513)]) {
		expect(wrongModel(text)).toBeTruthy();
	}
	for (const text of ['0', ' 64 ', '7']) {
		expect(wrongReplicas(text)).toBeUndefined();
	}
	for (const text of ['', '-1', '65', '1.5', 'all', '007']) {
		expect(wrongReplicas(text)).toBeTruthy();
	}
});

test('a number says what it ends', () => {
	expect(scalePrompt({ name: 'd', spec: { model: 'm', replicas: 1 } })).toMatch(
		/of m are .* stops it\.$/
	);
	expect(scalePrompt({ name: 'd', spec: { everywhere: true } })).toContain('every node');
	expect(scalePrompt({ name: 'd', spec: { maxReplicas: 3 } })).toContain('from 0 to 3');
});
