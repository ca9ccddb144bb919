import { describe, expect, it } from 'vitest';
import { buildDeployment, emptyDeploymentForm, pullPercent, replicaCounts } from './deployment';
import { chatCurl, gatewaySnippet } from './snippets';

describe('buildDeployment', () => {
	it('sends what was filled in', () => {
		expect(buildDeployment({ ...emptyDeploymentForm, model: 'qwen3:0.6b' })).toEqual({
			body: { spec: { model: 'qwen3:0.6b', engine: 'ENGINE_OLLAMA', replicas: 1 } }
		});
		expect(
			buildDeployment({
				...emptyDeploymentForm,
				model: 'Qwen/Qwen3-0.6B',
				engine: 'ENGINE_VLLM',
				replicas: '0',
				name: 'qwen',
				args: '--max-model-len 8192',
				memory: '8GiB'
			})
		).toEqual({
			body: {
				name: 'qwen',
				spec: {
					model: 'Qwen/Qwen3-0.6B',
					engine: 'ENGINE_VLLM',
					replicas: 0,
					args: ['--max-model-len', '8192'],
					resources: { memoryBytes: '8589934592', gpus: 0 }
				}
			}
		});
	});
	it('says what is wrong', () => {
		expect(buildDeployment({ ...emptyDeploymentForm, replicas: '65', name: 'Not This' })).toEqual({
			errors: {
				model: 'name the model, for example qwen3:0.6b',
				replicas: 'use a whole number from 0 to 64',
				name: 'use at most 63 of a-z, 0-9 and -, beginning with a letter or digit'
			}
		});
	});
});

it('counts replicas and pulls', () => {
	expect(
		replicaCounts({
			spec: { replicas: 3 },
			replicas: [{ state: 'REPLICA_STATE_READY' }, { state: 'REPLICA_STATE_PULLING' }]
		})
	).toEqual({ ready: 1, wanted: 3 });
	expect(replicaCounts({}).wanted).toBe(1);
	expect(replicaCounts({ wantedReplicas: 0, spec: { replicas: 1 } }).wanted).toBe(0);
	expect(pullPercent({ progressPercent: 12.5 })).toBe(12.5);
	expect(pullPercent({ completedBytes: '1', totalBytes: '4' })).toBe(25);
	expect(pullPercent({})).toBe(0);
});

it('a request is a command that a shell leaves as it is', () => {
	expect(chatCurl('http://h:8080', { content: "it's $HOME" })).toBe(
		String.raw`curl http://h:8080/v1/chat/completions \
  -H 'Content-Type: application/json' \
  -d '{"content":"it'\''s $HOME"}'`
	);
});

it('snippets survive odd model names', () => {
	expect(gatewaySnippet('curl', 'http://h:8080', "it's")).toContain(`"model":"it'\\''s"`);
	expect(gatewaySnippet('python', 'http://h:8080', 'a"b')).toContain('model="a\\"b"');
	expect(gatewaySnippet('node', 'http://h:8080', 'm')).toContain('baseURL: "http://h:8080/v1"');
});
