import { expect, it } from 'vitest';
import { artifactPath, artifactsBasis, byAttempt, leavesArtifacts } from './artifacts';

it('escapes each part of a name', () => {
	expect(artifactPath('j1', { name: 'out/a b/50%?#.txt' })).toBe(
		'/api/jobs/j1/artifacts/out/a%20b/50%25%3F%23.txt'
	);
});

it('puts the newest attempt first', () => {
	const one = { attempt: 1, name: 'a' };
	const two = { attempt: 2, name: 'a' };
	const more = { attempt: 2, name: 'b' };
	expect(byAttempt([one, two, more])).toEqual([
		{ attempt: 2, artifacts: [two, more] },
		{ attempt: 1, artifacts: [one] }
	]);
});

it('asks anew when an attempt has ended', () => {
	const running = { attempts: [{ number: 1, finishedAt: 'then' }, { number: 2 }] };
	expect(artifactsBasis(running)).toBe('1');
	expect(
		artifactsBasis({ attempts: running.attempts.map((one) => ({ ...one, finishedAt: 'now' })) })
	).toBe('1 2');
	expect(artifactsBasis({})).toBe('');
});

it('knows which jobs leave something', () => {
	expect(leavesArtifacts({ spec: { container: { artifacts: [{ path: '/out' }] } } })).toBe(true);
	expect(leavesArtifacts({ spec: { container: {} } })).toBe(false);
	expect(leavesArtifacts({ spec: { chat: {} } })).toBe(false);
});
