// Short names for the messages of the REST API; schema.d.ts is generated.
import type { components, operations, paths } from './schema.js';

export type { components, operations, paths };

type Schemas = components['schemas'];

export type Node = Schemas['orchion.v1.Node'];
export type NodeState = Schemas['orchion.v1.NodeState'];
export type NodeDrain = Schemas['orchion.v1.NodeDrain'];
export type Cluster = Schemas['orchion.v1.Cluster'];
export type Capabilities = Schemas['orchion.v1.Capabilities'];
export type NodeUsage = Schemas['orchion.v1.NodeUsage'];
export type Job = Schemas['orchion.v1.Job'];
export type JobSpec = Schemas['orchion.v1.JobSpec'];
export type JobState = Schemas['orchion.v1.JobState'];
export type Attempt = Schemas['orchion.v1.Attempt'];
export type AttemptState = Schemas['orchion.v1.AttemptState'];
export type LogEntry = Schemas['orchion.v1.LogEntry'];
export type ExplainJobResponse = Schemas['orchion.v1.ExplainJobResponse'];
export type Deployment = Schemas['orchion.v1.Deployment'];
export type DeploymentSpec = Schemas['orchion.v1.DeploymentSpec'];
export type DeploymentState = Schemas['orchion.v1.DeploymentState'];
export type Engine = Schemas['orchion.v1.Engine'];
export type Replica = Schemas['orchion.v1.Replica'];
export type ReplicaState = Schemas['orchion.v1.ReplicaState'];
export type OrchionEvent = Schemas['orchion.v1.Event'];
export type Version = Schemas['orchion.v1.Version'];
export type Status = Schemas['google.rpc.Status'];
