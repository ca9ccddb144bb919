import { describe, expect, it } from 'vitest';
import { loadWords, queueWords } from './load';
import { readScale, scaleField, scaleOf, specWords } from './scale';

const form = { how: 'fixed', replicas: '2', min: '0', max: '3', idle: '' } as const;

describe('readScale', () => {
	it('says it in one of three ways', () => {
		expect(readScale(form)).toEqual({ body: { replicas: 2 } });
		expect(readScale({ ...form, how: 'everywhere', replicas: 'x' })).toEqual({
			body: { everywhere: true }
		});
		expect(readScale({ ...form, how: 'demand' })).toEqual({
			body: { minReplicas: 0, maxReplicas: 3 }
		});
		expect(readScale({ ...form, how: 'demand', idle: '15m' })).toEqual({
			body: { minReplicas: 0, maxReplicas: 3, idleTimeout: '900s' }
		});
	});
	it('says what is wrong with which field', () => {
		expect(readScale({ ...form, replicas: '' })).toEqual({
			errors: { replicas: 'use a whole number from 0 to 64' }
		});
		expect(readScale({ ...form, how: 'demand', min: '65', max: '0', idle: '8d' })).toEqual({
			errors: {
				min: 'use a whole number from 0 to 64',
				max: 'use a whole number from 1 to 64',
				idle: 'use a time from 1.0 s up to 7 d 0 h'
			}
		});
		expect(readScale({ ...form, how: 'demand', min: '4' })).toEqual({
			errors: { max: 'use at least the 4 that there always are' }
		});
	});
	it('reads what is there, and whose an error is', () => {
		expect(scaleOf({ replicas: 3 }).how).toBe('fixed');
		expect(scaleOf({ minReplicas: 0, maxReplicas: 4, idleTimeout: '60s' })).toMatchObject({
			how: 'demand',
			min: '0',
			max: '4',
			idle: '60s'
		});
		expect(scaleOf({ everywhere: true }).how).toBe('everywhere');
		expect(scaleField('spec.minReplicas')).toBe('min');
		expect(scaleField('spec.constructor')).toBeUndefined();
	});
});

it('puts what is wanted into words', () => {
	expect(
		specWords({
			engine: 'ENGINE_OLLAMA',
			minReplicas: 0,
			maxReplicas: 3,
			constraints: ['os=linux'],
			maxInFlight: 8,
			maxQueued: 0,
			resources: { memoryBytes: String(2 ** 33), gpus: 1 }
		})
	).toBe(
		'Ollama serves it with 0 to 3 replicas, as many as are asked for. One that is not needed goes after 10 minutes. Only where os=linux. Each answers 8 requests at once. No request may wait. Each takes 8 GiB of memory and 1 GPU.'
	);
	expect(specWords({ engine: 'ENGINE_VLLM', everywhere: true })).toBe(
		'vLLM serves it with one replica on each node that fits.'
	);
});

it('puts load and queue into words', () => {
	expect(
		loadWords({ inFlight: 2, maxInFlight: 8, tokensPerSecond: 41.2, firstToken: '0.180s' })
	).toBe('2 of 8 requests · 41.2 tokens/s · first token after 180 ms');
	expect(loadWords({ breaker: 'open', retryAfter: '4s' })).toBe(
		'0 requests · failed, left alone for 4.0 s'
	);
	expect(queueWords({ inFlight: 3, maxInFlight: 16, maxQueued: 256 })).toBe(
		'3 of 16 requests at once answered now; none waits, and 256 may.'
	);
	expect(
		queueWords({
			inFlight: 16,
			maxInFlight: 16,
			interactive: 3,
			batch: 2,
			maxQueued: 256,
			oldest: '12s'
		})
	).toBe(
		'16 of 16 requests at once answered now; 5 of 256 waiting, 2 of them in no hurry; the first for 12 s.'
	);
});
