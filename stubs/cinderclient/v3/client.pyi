from cinderclient.v3.attachments import VolumeAttachmentManager
from cinderclient.v3.messages import MessageManager
from cinderclient.v3.pools import PoolManager
from cinderclient.v3.quotas import QuotaSetManager
from cinderclient.v3.volume_encryption_types import VolumeEncryptionTypeManager
from cinderclient.v3.volume_types import VolumeTypeManager
from cinderclient.v3.volumes import VolumeManager

class Client:
    attachments: VolumeAttachmentManager
    messages: MessageManager
    pools: PoolManager
    quotas: QuotaSetManager
    volume_encryption_types: VolumeEncryptionTypeManager
    volume_types: VolumeTypeManager
    volumes: VolumeManager
