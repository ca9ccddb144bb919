import { expect, it } from 'vitest';
import { asWritten } from './written';

it('leaves out what the API has filled in', () => {
	expect(
		asWritten({
			container: {
				image: 'alpine',
				command: [],
				args: ['', '0'],
				env: { EMPTY: '', ZERO: '0' },
				pullPolicy: 'PULL_POLICY_UNSPECIFIED',
				shmBytes: '0',
				volumes: [{ name: 'a', path: '/a', readOnly: false }]
			},
			resources: { cpuMillis: '500', gpus: 0, gpuVendor: '' },
			constraints: [],
			priority: 0,
			retry: { maxAttempts: 0 }
		})
	).toEqual({
		container: {
			image: 'alpine',
			args: ['', '0'],
			env: { EMPTY: '', ZERO: '0' },
			volumes: [{ name: 'a', path: '/a' }]
		},
		resources: { cpuMillis: '500' }
	});
	expect(asWritten({})).toEqual({});
	expect(asWritten({ chat: { model: 'm', temperature: 0, maxTokens: 0 } })).toEqual({
		chat: { model: 'm', temperature: 0 }
	});
});
