import type { ModelFit } from '../api/client';
import type {
	Attempt,
	AttemptState,
	DeploymentState,
	Engine,
	JobState,
	Node,
	NodeState,
	ReplicaState
} from '@orchion/api';

/**
 * What a state means to somebody who looks: all is well, work is under way, something waits, needs
 * a look, has failed, or is over. A tone has a colour and the state an icon and a word, so that no
 * meaning hangs on colour alone.
 */
export type Tone = 'ok' | 'busy' | 'wait' | 'warn' | 'bad' | 'off';

export type StateIcon =
	| 'check'
	| 'play'
	| 'clock'
	| 'send'
	| 'cross'
	| 'ban'
	| 'pause'
	| 'power'
	| 'download'
	| 'spinner'
	| 'warning'
	| 'unplug'
	| 'dot';

export interface StateLook {
	label: string;
	tone: Tone;
	icon: StateIcon;
}

const UNKNOWN: StateLook = { label: 'unknown', tone: 'off', icon: 'dot' };

const NODE: Partial<Record<NodeState, StateLook>> = {
	NODE_STATE_ONLINE: { label: 'online', tone: 'ok', icon: 'dot' },
	NODE_STATE_DRAINING: { label: 'draining', tone: 'wait', icon: 'pause' },
	NODE_STATE_OFFLINE: { label: 'offline', tone: 'off', icon: 'power' }
};

const JOB: Partial<Record<JobState, StateLook>> = {
	JOB_STATE_QUEUED: { label: 'queued', tone: 'wait', icon: 'clock' },
	JOB_STATE_ASSIGNED: { label: 'assigned', tone: 'busy', icon: 'send' },
	JOB_STATE_RUNNING: { label: 'running', tone: 'busy', icon: 'play' },
	JOB_STATE_SUCCEEDED: { label: 'succeeded', tone: 'ok', icon: 'check' },
	JOB_STATE_FAILED: { label: 'failed', tone: 'bad', icon: 'cross' },
	JOB_STATE_CANCELLED: { label: 'cancelled', tone: 'off', icon: 'ban' }
};

const ATTEMPT: Partial<Record<AttemptState, StateLook>> = {
	ATTEMPT_STATE_ASSIGNED: { label: 'assigned', tone: 'busy', icon: 'send' },
	ATTEMPT_STATE_RUNNING: { label: 'running', tone: 'busy', icon: 'play' },
	ATTEMPT_STATE_SUCCEEDED: { label: 'succeeded', tone: 'ok', icon: 'check' },
	ATTEMPT_STATE_FAILED: { label: 'failed', tone: 'bad', icon: 'cross' },
	ATTEMPT_STATE_CANCELLED: { label: 'cancelled', tone: 'off', icon: 'ban' },
	ATTEMPT_STATE_LOST: { label: 'lost', tone: 'warn', icon: 'unplug' },
	ATTEMPT_STATE_EVICTED: { label: 'evicted', tone: 'off', icon: 'send' }
};

const DEPLOYMENT: Partial<Record<DeploymentState, StateLook>> = {
	DEPLOYMENT_STATE_PENDING: { label: 'pending', tone: 'wait', icon: 'clock' },
	DEPLOYMENT_STATE_READY: { label: 'ready', tone: 'ok', icon: 'check' },
	DEPLOYMENT_STATE_DEGRADED: { label: 'degraded', tone: 'warn', icon: 'warning' },
	DEPLOYMENT_STATE_FAILED: { label: 'failed', tone: 'bad', icon: 'cross' },
	DEPLOYMENT_STATE_DELETING: { label: 'deleting', tone: 'off', icon: 'spinner' }
};

const REPLICA: Partial<Record<ReplicaState, StateLook>> = {
	REPLICA_STATE_PENDING: { label: 'pending', tone: 'wait', icon: 'clock' },
	REPLICA_STATE_PULLING: { label: 'pulling', tone: 'busy', icon: 'download' },
	REPLICA_STATE_LOADING: { label: 'loading', tone: 'busy', icon: 'spinner' },
	REPLICA_STATE_READY: { label: 'ready', tone: 'ok', icon: 'check' },
	REPLICA_STATE_FAILED: { label: 'failed', tone: 'bad', icon: 'cross' },
	REPLICA_STATE_STOPPING: { label: 'stopping', tone: 'off', icon: 'spinner' }
};

export const nodeLook = (state: NodeState | undefined): StateLook =>
	NODE[state ?? 'NODE_STATE_UNSPECIFIED'] ?? UNKNOWN;
/** What keeps new work from a node besides its state. */
export function nodeMarks(node: Node): StateLook[] {
	const marks: StateLook[] = [];
	if (node.cordoned) marks.push({ label: 'cordoned', tone: 'wait', icon: 'ban' });
	if (node.coolDown) marks.push({ label: 'cooling down', tone: 'warn', icon: 'clock' });
	if (node.drain?.maintenance) marks.push({ label: 'maintenance', tone: 'off', icon: 'pause' });
	return marks;
}

export const jobLook = (state: JobState | undefined): StateLook =>
	JOB[state ?? 'JOB_STATE_UNSPECIFIED'] ?? UNKNOWN;
export const attemptLook = (state: AttemptState | undefined): StateLook =>
	ATTEMPT[state ?? 'ATTEMPT_STATE_UNSPECIFIED'] ?? UNKNOWN;
export const deploymentLook = (state: DeploymentState | undefined): StateLook =>
	DEPLOYMENT[state ?? 'DEPLOYMENT_STATE_UNSPECIFIED'] ?? UNKNOWN;
export const replicaLook = (state: ReplicaState | undefined): StateLook =>
	REPLICA[state ?? 'REPLICA_STATE_UNSPECIFIED'] ?? UNKNOWN;

export const queueLook = (paused: boolean): StateLook =>
	paused
		? { label: 'paused', tone: 'wait', icon: 'pause' }
		: { label: 'open', tone: 'ok', icon: 'dot' };

/** A schedule that is not paused, but whose last time made no job, needs a look. */
export function scheduleLook(schedule: { paused?: boolean; reason?: string }): StateLook {
	if (schedule.paused) return { label: 'paused', tone: 'wait', icon: 'pause' };
	return schedule.reason
		? { label: 'active', tone: 'warn', icon: 'warning' }
		: { label: 'active', tone: 'ok', icon: 'clock' };
}

const FAILURES: Partial<Record<NonNullable<Attempt['failure']>, string>> = {
	FAILURE_CLASS_EXIT_CODE: 'exit code',
	FAILURE_CLASS_OUT_OF_MEMORY: 'out of memory',
	FAILURE_CLASS_IMAGE: 'no such image',
	FAILURE_CLASS_IMAGE_UNAVAILABLE: 'registry out of reach',
	FAILURE_CLASS_START: 'did not start',
	FAILURE_CLASS_TIMEOUT: 'out of time',
	FAILURE_CLASS_INVALID: 'cannot run as submitted',
	FAILURE_CLASS_ENGINE: 'engine gone',
	FAILURE_CLASS_NODE_LOST: 'node lost',
	FAILURE_CLASS_NODE: 'node cannot run it'
};

/** What kind of thing went wrong with an attempt; undefined when the API does not say. */
export const failureName = (failure: Attempt['failure']): string | undefined =>
	FAILURES[failure ?? 'FAILURE_CLASS_UNSPECIFIED'];

/** An engine as people write it. */
export function engineName(engine: Engine | undefined): string {
	switch (engine) {
		case 'ENGINE_OLLAMA':
			return 'Ollama';
		case 'ENGINE_VLLM':
			return 'vLLM';
		case 'ENGINE_EXTERNAL':
			return 'external';
		default:
			return 'unknown engine';
	}
}

/** How a call of a model ended: 499 is the status of one whose client left. */
export function requestLook({ status, broken }: { status?: number; broken?: boolean }): StateLook {
	if (status === 499) return { label: 'cancelled', tone: 'wait', icon: 'ban' };
	if (broken) return { label: 'broken off', tone: 'bad', icon: 'unplug' };
	if (!status || status >= 400)
		return { label: status ? `failed (${status})` : 'failed', tone: 'bad', icon: 'cross' };
	return { label: 'answered', tone: 'ok', icon: 'check' };
}

/** How a model fits on a node. */
export function placeLook(place: NonNullable<ModelFit['nodes']>[number]['place']): StateLook {
	switch (place) {
		case 'MODEL_PLACE_GPU':
			return { label: 'on GPU', tone: 'ok', icon: 'check' };
		case 'MODEL_PLACE_PARTLY_GPU':
			return { label: 'partly on GPU', tone: 'wait', icon: 'warning' };
		case 'MODEL_PLACE_CPU':
			return { label: 'on CPU', tone: 'wait', icon: 'warning' };
		case 'MODEL_PLACE_NONE':
			return { label: 'no', tone: 'off', icon: 'ban' };
		default:
			return UNKNOWN;
	}
}
