import { expect, it } from 'vitest';
import { buildJob, emptyJobForm, idempotencyKey, jobFormField } from './submission';

it('an empty form says what is required', () => {
	expect(buildJob(emptyJobForm)).toEqual({
		errors: { image: 'name the image to run, for example docker.io/library/alpine:3.22' }
	});
	expect(buildJob({ ...emptyJobForm, kind: 'chat' })).toEqual({
		errors: { chatModel: 'choose the model to ask', prompt: 'write what to ask the model' }
	});
});

it('sends only what was filled in', () => {
	expect(buildJob({ ...emptyJobForm, image: ' alpine ' })).toEqual({
		body: {
			spec: {
				container: {
					image: 'alpine',
					command: [],
					args: [],
					env: {},
					models: [],
					pullPolicy: 'PULL_POLICY_IF_NOT_PRESENT'
				}
			}
		}
	});
	const built = buildJob({
		...emptyJobForm,
		kind: 'chat',
		name: 'ask',
		chatModel: 'qwen3:0.6b',
		system: 'Be brief.',
		prompt: 'Why?',
		maxTokens: '64',
		gpus: '1',
		constraints: 'os=linux\n\ngpu.memory>=16GiB',
		labels: 'team=ops',
		priority: '5',
		maxAttempts: '3',
		timeout: '10m'
	});
	expect(built).toEqual({
		body: {
			name: 'ask',
			labels: { team: 'ops' },
			spec: {
				chat: {
					model: 'qwen3:0.6b',
					messages: [
						{ role: 'system', content: 'Be brief.' },
						{ role: 'user', content: 'Why?' }
					],
					maxTokens: 64
				},
				resources: { cpuMillis: '0', memoryBytes: '0', gpus: 1, gpuMemoryBytes: '0' },
				constraints: ['os=linux', 'gpu.memory>=16GiB'],
				priority: 5,
				retry: { maxAttempts: 3 },
				timeout: '600s'
			}
		}
	});
});

it('names every field that is wrong at once', () => {
	const built = buildJob({
		...emptyJobForm,
		image: 'a',
		args: '"',
		env: '1',
		cpu: 'x',
		priority: '5000',
		timeout: 'later'
	});
	expect(built).toEqual({
		errors: {
			args: 'a " is not closed',
			env: 'line 1: write a variable as NAME=value',
			cpu: 'use a number of cores such as 0.5 or 2',
			priority: 'use a whole number from -1000 to 1000',
			timeout: 'use a time such as 90s, 10m or 1h30m'
		}
	});
});

it('finds the field of an API error', () => {
	expect(jobFormField('spec.container.env["A B"]')).toBe('env');
	expect(jobFormField('spec.resources.gpuMemoryBytes')).toBe('gpuMemory');
	expect(jobFormField('spec.resources.gpus')).toBe('gpus');
	expect(jobFormField('idempotencyKey')).toBeUndefined();
	expect(jobFormField(undefined)).toBeUndefined();
});

it('keys differ', () => {
	expect(idempotencyKey()).toMatch(/^dashboard-[0-9a-f]{32}$/);
	expect(idempotencyKey()).not.toBe(idempotencyKey());
});
