import type {
	Cluster,
	Deployment,
	DeploymentSpec,
	ExplainJobResponse,
	Job,
	LogEntry,
	Node,
	Status,
	Version,
	operations
} from '@orchion/api';
import { ApiError, errorFromResponse, errorFromStatus, isAbort } from './error';
import { readLines } from './lines';

type Query<O extends keyof operations> = operations[O]['parameters']['query'];
type Body<O extends keyof operations> = operations[O] extends {
	requestBody: { content: { 'application/json': infer B } };
}
	? B
	: never;
type Answer<O extends keyof operations> = operations[O] extends {
	responses: { 200: { content: { 'application/json': infer B } } };
}
	? B
	: never;

export type Queue = Answer<'Queues_GetQueue'>;
export type Schedule = Answer<'Schedules_GetSchedule'>;
export type Usage = Answer<'Usage_GetUsage'>;
export type UsageRequest = NonNullable<Answer<'Usage_ListUsageRequests'>['requests']>[number];
export type ModelFit = Answer<'Models_GetModelFit'>;
export type ModelQueue = NonNullable<Answer<'Gateway_ListModelQueues'>['queues']>[number];
export type ModelReplica = NonNullable<Answer<'Gateway_ListModelReplicas'>['replicas']>[number];
export type PutSchedule = Body<'Schedules_PutSchedule'>;

export type Scale = Pick<
	DeploymentSpec,
	'replicas' | 'minReplicas' | 'maxReplicas' | 'everywhere' | 'idleTimeout'
>;

type QueryValues = Record<string, string | number | boolean | undefined>;

interface CallOptions {
	signal?: AbortSignal;
	/** How long to wait for the answer to begin, in milliseconds. */
	timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 15_000;

/** Most pages of nodes, queues or deployments that are read before a list counts as endless. */
const MAX_PAGES = 20;

/** The largest page that the API gives. */
export const MAX_PAGE_SIZE = 1000;

/**
 * OrchionApi calls one orchestrator. Every method throws an ApiError, whose message can be shown,
 * or the AbortError of the caller's own signal.
 */
export class OrchionApi {
	/** Without a slash at its end; empty: the origin of this page. */
	readonly baseUrl: string;
	private readonly fetch: typeof globalThis.fetch;

	constructor(baseUrl: string, fetch: typeof globalThis.fetch = globalThis.fetch.bind(globalThis)) {
		this.baseUrl = baseUrl.replace(/\/+$/, '');
		this.fetch = fetch;
	}

	/** The address of a path of this orchestrator, with a query. */
	url(path: string, query: QueryValues = {}): string {
		const parameters = new URLSearchParams();
		for (const [key, value] of Object.entries(query)) {
			if (value !== undefined && value !== '') parameters.set(key, String(value));
		}
		const search = parameters.toString();
		return `${this.baseUrl}${path}${search ? `?${search}` : ''}`;
	}

	version(options?: CallOptions): Promise<Version> {
		return this.json('GET', '/api/version', {}, options);
	}

	listNodes(query: Query<'Orchestrator_ListNodes'> = {}, options?: CallOptions) {
		return this.json<Answer<'Orchestrator_ListNodes'>>('GET', '/api/nodes', { query }, options);
	}

	/** Every node the orchestrator knows, those that are gone included. */
	allNodes(options?: CallOptions): Promise<Node[]> {
		return collect(async (pageToken) => {
			const page = await this.listNodes(
				{ state: 'all', pageSize: MAX_PAGE_SIZE, pageToken },
				options
			);
			return { items: page.nodes, next: page.nextPageToken };
		});
	}

	getNode(id: string, options?: CallOptions): Promise<Node> {
		return this.json('GET', `/api/nodes/${encodeURIComponent(id)}`, {}, options);
	}

	drainNode(id: string, how: Body<'Orchestrator_DrainNode'> = {}): Promise<Node> {
		return this.changeNode(id, 'drain', how);
	}

	undrainNode(id: string): Promise<Node> {
		return this.changeNode(id, 'undrain');
	}

	cordonNode(id: string): Promise<Node> {
		return this.changeNode(id, 'cordon');
	}

	/** Lifts a cordon, and a cool-down with it. */
	uncordonNode(id: string): Promise<Node> {
		return this.changeNode(id, 'uncordon');
	}

	taintNode(id: string, taints: string[]): Promise<Node> {
		return this.changeNode(id, 'taint', { taints });
	}

	untaintNode(id: string, taints: string[]): Promise<Node> {
		return this.changeNode(id, 'untaint', { taints });
	}

	/** Replaces the labels that people put on a node. */
	labelNode(id: string, labels: Record<string, string>): Promise<Node> {
		return this.json('PATCH', `/api/nodes/${encodeURIComponent(id)}`, { body: { labels } });
	}

	private changeNode(id: string, verb: string, body: unknown = {}): Promise<Node> {
		return this.json('POST', `/api/nodes/${encodeURIComponent(id)}:${verb}`, { body });
	}

	/** Nodes and jobs in numbers, and whether rescheduling is paused. */
	getCluster(options?: CallOptions): Promise<Cluster> {
		return this.json('GET', '/api/cluster', {}, options);
	}

	resumeCluster(): Promise<Cluster> {
		return this.json('POST', '/api/cluster:resume', { body: {} });
	}

	/** Forgets a node that is offline. */
	async deleteNode(id: string): Promise<void> {
		await this.json('DELETE', `/api/nodes/${encodeURIComponent(id)}`);
	}

	listJobs(query: Query<'Jobs_ListJobs'> = {}, options?: CallOptions) {
		return this.json<Answer<'Jobs_ListJobs'>>('GET', '/api/jobs', { query }, options);
	}

	getJob(id: string, options?: CallOptions): Promise<Job> {
		return this.json('GET', `/api/jobs/${encodeURIComponent(id)}`, {}, options);
	}

	submitJob(body: Body<'Jobs_SubmitJob'>): Promise<Job> {
		return this.json('POST', '/api/jobs', { body });
	}

	cancelJob(id: string, reason: string): Promise<Job> {
		return this.json('POST', `/api/jobs/${encodeURIComponent(id)}:cancel`, { body: { reason } });
	}

	retryJob(id: string): Promise<Job> {
		return this.json('POST', `/api/jobs/${encodeURIComponent(id)}:retry`, { body: {} });
	}

	explainJob(id: string, options?: CallOptions): Promise<ExplainJobResponse> {
		return this.json('GET', `/api/jobs/${encodeURIComponent(id)}/explain`, {}, options);
	}

	/** What the attempts of a job left; the first page, which is most of them. */
	listArtifacts(id: string, options?: CallOptions) {
		return this.json<Answer<'Artifacts_ListArtifacts'>>(
			'GET',
			`/api/jobs/${encodeURIComponent(id)}/artifacts`,
			{ query: { pageSize: MAX_PAGE_SIZE } },
			options
		);
	}

	/**
	 * The log of a job, entry by entry, until the job has ended or the signal aborts. The connection
	 * stays open while the job is silent, so there is no timeout once the answer has begun.
	 */
	followLog(
		id: string,
		query: { attempt?: number; tail?: number; follow?: boolean },
		signal: AbortSignal
	): AsyncGenerator<LogEntry> {
		const path = `/api/jobs/${encodeURIComponent(id)}/logs`;
		return this.follow(path, { follow: true, ...query }, signal);
	}

	private async *follow(
		path: string,
		query: QueryValues,
		signal: AbortSignal
	): AsyncGenerator<LogEntry> {
		const response = await this.send(
			'GET',
			path,
			{ query, accept: 'application/x-ndjson' },
			// A follower of a silent log may not get its headers before the first line.
			{ signal, timeoutMs: 0 }
		);
		for await (const line of this.lines(response)) {
			if (line.trim() === '') continue;
			const entry = parse<LogEntry & { error?: Status }>(line);
			// A log that had begun can only tell of its failure as one more line.
			if (entry.error) throw errorFromStatus(entry.error);
			yield entry;
		}
	}

	/** Where the log can be read as plain text. */
	logUrl(id: string, attempt?: number): string {
		return this.url(`/api/jobs/${encodeURIComponent(id)}/logs`, { attempt });
	}

	/** What the engine of a replica prints, until its container ends; of whichever replica without an id. */
	followEngineLog(
		name: string,
		replicaId: string | undefined,
		signal: AbortSignal
	): AsyncGenerator<LogEntry> {
		const path = `/api/deployments/${encodeURIComponent(name)}/logs`;
		return this.follow(path, { follow: true, replicaId }, signal);
	}

	engineLogUrl(name: string, replicaId?: string): string {
		return this.url(`/api/deployments/${encodeURIComponent(name)}/logs`, { replicaId });
	}

	/** The replicas that the gateway routes to, of one model. */
	modelReplicas(model: string, options?: CallOptions): Promise<ModelReplica[]> {
		return collect(async (pageToken) => {
			const page = await this.json<Answer<'Gateway_ListModelReplicas'>>(
				'GET',
				'/api/gateway/replicas',
				{ query: { model, pageSize: MAX_PAGE_SIZE, pageToken } },
				options
			);
			return { items: page.replicas, next: page.nextPageToken };
		});
	}

	/** How the requests for a model stand; undefined: none waits and no replica is ready. */
	async modelQueue(model: string, options?: CallOptions): Promise<ModelQueue | undefined> {
		const page = await this.json<Answer<'Gateway_ListModelQueues'>>(
			'GET',
			'/api/gateway/queues',
			{ query: { model } },
			options
		);
		return page.queues?.[0];
	}

	/** Every queue that is in use or has settings, ordered by name. */
	allQueues(options?: CallOptions): Promise<Queue[]> {
		return collect(async (pageToken) => {
			const page = await this.json<Answer<'Queues_ListQueues'>>(
				'GET',
				'/api/queues',
				{ query: { pageSize: MAX_PAGE_SIZE, pageToken } },
				options
			);
			return { items: page.queues, next: page.nextPageToken };
		});
	}

	/** Changes the settings that are given. */
	updateQueue(name: string, body: Body<'Queues_UpdateQueue'>): Promise<Queue> {
		return this.json('PATCH', `/api/queues/${encodeURIComponent(name)}`, { body });
	}

	/** Every schedule, ordered by name, without what is in input files. */
	allSchedules(options?: CallOptions): Promise<Schedule[]> {
		return collect(async (pageToken) => {
			const page = await this.json<Answer<'Schedules_ListSchedules'>>(
				'GET',
				'/api/schedules',
				{ query: { pageSize: MAX_PAGE_SIZE, pageToken } },
				options
			);
			return { items: page.schedules, next: page.nextPageToken };
		});
	}

	getSchedule(name: string, options?: CallOptions): Promise<Schedule> {
		return this.json('GET', `/api/schedules/${encodeURIComponent(name)}`, {}, options);
	}

	/** Makes a schedule, or replaces what one of that name does. */
	putSchedule(name: string, body: PutSchedule): Promise<Schedule> {
		return this.json('PUT', `/api/schedules/${encodeURIComponent(name)}`, { body });
	}

	pauseSchedule(name: string, paused: boolean): Promise<Schedule> {
		return this.json('PATCH', `/api/schedules/${encodeURIComponent(name)}`, { body: { paused } });
	}

	/** Submits a run now and answers its job. */
	triggerSchedule(name: string): Promise<Job> {
		return this.json('POST', `/api/schedules/${encodeURIComponent(name)}:trigger`, { body: {} });
	}

	async deleteSchedule(name: string): Promise<void> {
		await this.json('DELETE', `/api/schedules/${encodeURIComponent(name)}`);
	}

	/** When a schedule would submit from now on. */
	async previewSchedule(
		query: Query<'Schedules_PreviewSchedule'>,
		options?: CallOptions
	): Promise<string[]> {
		const answer = await this.json<Answer<'Schedules_PreviewSchedule'>>(
			'GET',
			'/api/schedules:preview',
			{ query },
			options
		);
		return answer.runs ?? [];
	}

	/** What calls of models took, over time. */
	usage(query: Query<'Usage_GetUsage'>, options?: CallOptions): Promise<Usage> {
		return this.json('GET', '/api/usage', { query }, options);
	}

	/** The newest calls of models, the newest first. */
	async usageRequests(
		query: Query<'Usage_ListUsageRequests'>,
		options?: CallOptions
	): Promise<UsageRequest[]> {
		const answer = await this.json<Answer<'Usage_ListUsageRequests'>>(
			'GET',
			'/api/usage/requests',
			{ query },
			options
		);
		return answer.requests ?? [];
	}

	allDeployments(options?: CallOptions): Promise<Deployment[]> {
		return collect(async (pageToken) => {
			const page = await this.json<Answer<'Deployments_ListDeployments'>>(
				'GET',
				'/api/deployments',
				{ query: { pageSize: MAX_PAGE_SIZE, pageToken } },
				options
			);
			return { items: page.deployments, next: page.nextPageToken };
		});
	}

	getDeployment(name: string, options?: CallOptions): Promise<Deployment> {
		return this.json('GET', `/api/deployments/${encodeURIComponent(name)}`, {}, options);
	}

	/** What a model needs, and where there is room for it. A node may have to look it up. */
	modelFit(
		model: string,
		query: Query<'Models_GetModelFit'>,
		options?: CallOptions
	): Promise<ModelFit> {
		const path = model.split('/').map(encodeURIComponent).join('/');
		return this.json(
			'GET',
			`/api/models/${path}:fit`,
			{ query },
			{ timeoutMs: 60_000, ...options }
		);
	}

	createDeployment(body: Body<'Deployments_CreateDeployment'>): Promise<Deployment> {
		return this.json('POST', '/api/deployments', { body });
	}

	/** Says how often a model is served, in one of the three ways there are. */
	scaleDeployment(name: string, spec: Scale): Promise<Deployment> {
		return this.json('PATCH', `/api/deployments/${encodeURIComponent(name)}`, { body: { spec } });
	}

	async deleteDeployment(name: string): Promise<void> {
		await this.json('DELETE', `/api/deployments/${encodeURIComponent(name)}`);
	}

	/** The models that the gateway serves right now, by the names that requests use. */
	async gatewayModels(options?: CallOptions): Promise<string[]> {
		const list = await this.json<{ data?: { id?: string }[] }>('GET', '/v1/models', {}, options);
		return (list.data ?? []).flatMap((model) => (model.id ? [model.id] : []));
	}

	/**
	 * Opens a streaming chat at the gateway and answers the lines of its event stream. The headers say
	 * where the answer comes from.
	 */
	async *chatLines(
		body: unknown,
		signal: AbortSignal,
		begun?: (headers: Headers) => void
	): AsyncGenerator<string> {
		const response = await this.send(
			'POST',
			'/v1/chat/completions',
			{ body, accept: 'text/event-stream' },
			// A model that has to be loaded first answers late.
			{ signal, timeoutMs: 0 }
		);
		begun?.(response.headers);
		yield* this.lines(response);
	}

	private async json<T>(
		method: string,
		path: string,
		request: { query?: QueryValues; body?: unknown } = {},
		options: CallOptions = {}
	): Promise<T> {
		const response = await this.send(
			method,
			path,
			{ ...request, accept: 'application/json' },
			options
		);
		const text = await response.text();
		return parse<T>(text === '' ? '{}' : text);
	}

	private async send(
		method: string,
		path: string,
		request: { query?: QueryValues; body?: unknown; accept: string },
		{ signal, timeoutMs = DEFAULT_TIMEOUT_MS }: CallOptions
	): Promise<Response> {
		const timeout = timeoutMs > 0 ? AbortSignal.timeout(timeoutMs) : undefined;
		const signals = [signal, timeout].filter((one) => one !== undefined);
		const headers: Record<string, string> = { accept: request.accept };
		if (request.body !== undefined) headers['content-type'] = 'application/json';
		const ask = () =>
			this.fetch(this.url(path, request.query), {
				method,
				headers,
				body: request.body === undefined ? undefined : JSON.stringify(request.body),
				signal: signals.length > 0 ? AbortSignal.any(signals) : undefined,
				cache: 'no-store'
			});
		let response: Response;
		try {
			response = await ask().catch((cause: unknown) => {
				// A browser breaks its connections when an interface of the machine comes or goes, which says
				// nothing of the orchestrator: what only reads is asked once more.
				if (method !== 'GET' || signals.some((one) => one.aborted)) throw cause;
				return ask();
			});
		} catch (cause) {
			if (signal?.aborted) throw cause;
			if (timeout?.aborted) {
				throw new ApiError(
					'timeout',
					`${this.name()} did not answer within ${timeoutMs / 1000} s`,
					{ cause }
				);
			}
			throw new ApiError(
				'network',
				this.baseUrl
					? `cannot reach ${this.baseUrl}: no orchestrator runs there, or it does not allow this page's origin`
					: 'cannot reach the orchestrator: it has stopped, or is just starting',
				{ cause }
			);
		}
		if (!response.ok) throw await errorFromResponse(response);
		const type = response.headers.get('content-type') ?? '';
		if (type.startsWith('text/html')) {
			throw new ApiError('protocol', `${this.name()} answers, but it is not an orchestrator`, {
				status: response.status
			});
		}
		return response;
	}

	private async *lines(response: Response): AsyncGenerator<string> {
		if (!response.body) return;
		try {
			yield* readLines(response.body);
		} catch (cause) {
			if (isAbort(cause) || cause instanceof ApiError) throw cause;
			throw new ApiError('network', `the connection to ${this.name()} was lost`, { cause });
		}
	}

	private name(): string {
		return this.baseUrl || 'the orchestrator';
	}
}

/** Reads every page of a list. */
async function collect<T>(
	page: (token: string | undefined) => Promise<{ items?: T[]; next?: string }>
): Promise<T[]> {
	const all: T[] = [];
	let token: string | undefined;
	for (let read = 0; read < MAX_PAGES; read++) {
		const { items = [], next } = await page(token);
		for (const item of items) all.push(item);
		if (!next) break;
		token = next;
	}
	return all;
}

function parse<T>(text: string): T {
	try {
		return JSON.parse(text) as T;
	} catch (cause) {
		throw new ApiError('protocol', 'the orchestrator answered something that is not JSON', {
			cause
		});
	}
}
