"""What the embedded broker is told: one node in KRaft mode, loopback only, small.

Out:  `server.properties` and `log4j2.properties` as text, and the JVM's options.
"""

from __future__ import annotations

from pathlib import Path

from deploy.ports import HOST

NODE_ID = 1
_MIB = 2**20


def server_properties(*, port: int, controller_port: int, data: Path) -> str:
    settings: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": NODE_ID,
        "controller.quorum.voters": f"{NODE_ID}@{HOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        # one node: nothing can be replicated
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # few, small files: a dozen groups at most
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.num.partitions": 1,
        "offsets.topic.segment.bytes": 16 * _MIB,
        "log.segment.bytes": 64 * _MIB,
        "log.index.size.max.bytes": _MIB,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 16 * _MIB,  # of the heap; the default takes 128 MiB
        "message.max.bytes": 8 * _MIB,  # a checkpoint of a wide twin
        # a topic that appears by itself would have the wrong cleanup and partitions
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "metadata.max.idle.interval.ms": 5000,  # an idle broker writes a no-op record this often
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def log4j2_properties(log: Path) -> str:
    """Warnings and the life of the broker into `log`, 10 MiB and three old ones."""
    return f"""status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {log}
appender.file.filePattern = {log}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{yyyy-MM-dd'T'HH:mm:ss.SSS}} %p %c{{1}} %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
logger.life.name = kafka.server.KafkaRaftServer
logger.life.level = info
"""


def jvm_options(*, java_major: int, heap_mib: int, log4j2: Path) -> list[str]:
    options = [
        f"-Xmx{heap_mib}m",
        "-Xms64m",
        "-XX:+UseSerialGC",  # a heap this small
        "-XX:+ExitOnOutOfMemoryError",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={log4j2.as_uri()}",
    ]
    if java_major >= 24:  # zstd-jni and snappy load native code
        options += ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
    return options
