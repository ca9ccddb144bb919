import type { AttemptState, JobState } from '@orchion/api';

/** Job states in the order in which a job passes them. */
export const JOB_STATES = [
	'JOB_STATE_QUEUED',
	'JOB_STATE_ASSIGNED',
	'JOB_STATE_RUNNING',
	'JOB_STATE_SUCCEEDED',
	'JOB_STATE_FAILED',
	'JOB_STATE_CANCELLED'
] as const satisfies JobState[];

/** Whether nothing more happens to a job in this state by itself. */
export function isEnded(state: JobState | undefined): boolean {
	return (
		state === 'JOB_STATE_SUCCEEDED' ||
		state === 'JOB_STATE_FAILED' ||
		state === 'JOB_STATE_CANCELLED'
	);
}

/** Whether a job in this state may be queued again. */
export function isRetryable(state: JobState | undefined): boolean {
	return state === 'JOB_STATE_FAILED' || state === 'JOB_STATE_CANCELLED';
}

export function isAttemptEnded(state: AttemptState | undefined): boolean {
	return (
		state === 'ATTEMPT_STATE_SUCCEEDED' ||
		state === 'ATTEMPT_STATE_FAILED' ||
		state === 'ATTEMPT_STATE_CANCELLED' ||
		state === 'ATTEMPT_STATE_LOST' ||
		state === 'ATTEMPT_STATE_EVICTED'
	);
}
