const MINUTE = 60;
const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** What the orchestrator takes (docs/jobs.md): what is beyond it is said before anything is sent. */
export const LIMITS = {
	name: 128,
	image: 512,
	words: 1024,
	wordBytes: 256 * 1024,
	env: 256,
	envName: 255,
	envBytes: 256 * 1024,
	models: 32,
	modelName: 256,
	messageBytes: 1024 * 1024,
	chatTokens: 1024 * 1024,
	constraints: 32,
	constraint: 512,
	tolerations: 32,
	affinities: 16,
	/** Points, for better or worse. */
	affinity: 100,
	selector: 4096,
	labels: 64,
	labelValue: 253,
	cores: 10_000,
	leastMemory: 6 * 1024 ** 2,
	leastTmpfs: 4096,
	mostBytes: 2 ** 50,
	gpus: 64,
	attempts: 100,
	path: 4096,
	files: 256,
	fileBytes: 1024 * 1024,
	mounts: 16,
	artifacts: 64,
	artifactName: 1024,
	exitCodes: 255,
	after: 100,
	count: 10_000,
	stopGrace: 5 * MINUTE,
	/** Seconds ahead that a job may be told to start. */
	ahead: 365 * DAY
};

/** What labels and taints are called. */
export const LABEL_KEY = /^[A-Za-z0-9._/-]{1,63}$/;
