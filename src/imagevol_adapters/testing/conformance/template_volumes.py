"""What a `TemplateVolumes` must do, a sentence each."""
# ruff: noqa: D102, S101

from __future__ import annotations

import uuid
from typing import Protocol

import pytest

from imagevol_adapters.ports import VolumeService
from imagevol_adapters.tending.templates import TemplateVolumes
from imagevol_adapters.testing.conformance.fixtures import NAME, NOBODY, NewVolume, WithVolumes
from imagevol_core import AccessDenied, ResourceNotFound

__all__ = ["ListedVolumes", "TemplateVolumesConformance"]


class ListedVolumes(VolumeService, TemplateVolumes, Protocol):
    """A `TemplateVolumes` that can also make the volumes of the tests."""


class TemplateVolumesConformance(WithVolumes):
    """A `TemplateVolumes` that is a `VolumeService` too: of an administrator, and of the user of another project.

    An example::

        class TestMyTemplateVolumes(TemplateVolumesConformance):
            @pytest.fixture
            def volumes(self) -> ListedVolumes:
                return MyVolumes(user="admin")

            @pytest.fixture
            def users(self) -> ListedVolumes:
                return MyVolumes(user="demo")
    """

    @pytest.fixture
    def volumes(self) -> ListedVolumes:
        """The volumes as an administrator sees them."""
        raise NotImplementedError("override this fixture")

    @pytest.fixture
    def users(self) -> ListedVolumes:
        """The same volumes as a user of another project sees them, who is no administrator."""
        raise NotImplementedError("override this fixture")

    def test_an_administrator_lists_the_volumes_of_each_project_and_sees_where_they_are(
        self, volumes: ListedVolumes, users: ListedVolumes, new_volume: NewVolume
    ) -> None:
        theirs = users.create(size_gib=1, name=NAME)
        try:
            users.wait(theirs.id)
            mine = {new_volume().id, new_volume().id}
            assert users.project_id != volumes.project_id
            for project_id, expected, others in (
                (volumes.project_id, mine, {theirs.id}),
                (users.project_id, {theirs.id}, mine),
            ):
                assert project_id is not None
                listed = {volume.id: volume for volume in volumes.listed(project_id=project_id)}
                assert expected <= listed.keys()
                assert not others & listed.keys()
                assert {volume.project_id for volume in listed.values()} == {project_id}
                assert all(listed[volume_id].host for volume_id in expected)
                assert {listed[volume_id].name for volume_id in expected} == {NAME}
                assert all(listed[volume_id] == volumes.get(volume_id) for volume_id in expected)
        finally:
            users.delete(theirs.id)

    def test_only_those_that_have_all_of_the_metadata_are_listed(
        self, volumes: ListedVolumes, new_volume: NewVolume
    ) -> None:
        one, two = f"{NAME}-{uuid.uuid4()}", f"{NAME}-{uuid.uuid4()}"
        both = new_volume(metadata={one: "yes", two: "yes", "other": "1"}).id
        new_volume(metadata={one: "no", two: "yes"})
        new_volume(metadata={one: "yes"})
        new_volume()
        project_id = str(volumes.project_id)

        def found(**metadata: str) -> list[str]:
            return [volume.id for volume in volumes.listed(project_id=project_id, metadata=metadata)]

        assert found(**{one: "yes", two: "yes"}) == [both]
        assert found(**{one: "yes", two: "never"}) == []
        volumes.set_metadata(both, {one: "no more"})
        assert found(**{one: "yes", two: "yes"}) == []

    def test_a_list_without_wanted_metadata_has_all_volumes(
        self, volumes: ListedVolumes, new_volume: NewVolume
    ) -> None:
        made = new_volume().id
        no_wishes: tuple[dict[str, str] | None, ...] = (None, {})
        for metadata in no_wishes:
            listed = volumes.listed(project_id=str(volumes.project_id), metadata=metadata)
            assert made in {volume.id for volume in listed}

    def test_a_volume_is_listed_from_its_beginning_and_not_after_its_end(self, volumes: ListedVolumes) -> None:
        project_id = str(volumes.project_id)
        created = volumes.create(size_gib=1, name=NAME)
        try:
            assert created.id in {volume.id for volume in volumes.listed(project_id=project_id)}
        finally:
            volumes.delete(created.id)
        assert created.id not in {volume.id for volume in volumes.listed(project_id=project_id)}

    def test_a_project_that_has_no_volumes_has_none(self, volumes: ListedVolumes) -> None:
        assert list(volumes.listed(project_id=NOBODY.replace("-", ""))) == []

    def test_a_list_that_is_read_in_part_does_no_harm(self, volumes: ListedVolumes, new_volume: NewVolume) -> None:
        made = {new_volume().id, new_volume().id}
        listed = volumes.listed(project_id=str(volumes.project_id))
        next(listed)
        assert made <= {volume.id for volume in volumes.listed(project_id=str(volumes.project_id))}

    def test_a_user_who_is_no_administrator_cannot_list_even_the_own_project(
        self, volumes: ListedVolumes, users: ListedVolumes, new_volume: NewVolume
    ) -> None:
        mine = new_volume().id
        theirs = users.create(size_gib=1, name=NAME)
        try:
            users.wait(theirs.id)
            for project_id in (volumes.project_id, users.project_id):
                with pytest.raises(AccessDenied):
                    list(users.listed(project_id=str(project_id)))
            with pytest.raises(ResourceNotFound):
                users.get(mine)
            assert [volume.id for volume in users.find([theirs.id, mine])] == [theirs.id]
        finally:
            users.delete(theirs.id)
